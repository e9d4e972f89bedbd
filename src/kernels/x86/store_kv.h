// SPDX-License-Identifier: Apache-2.0
// Puts the K and V of one token into a page. Include after the ISA's vector type.
#pragma once

#include "kernels/cpu_kernels.h"
#include "kernels/key_layout.h"
#include "kernels/x86/q8_rows.h"

namespace qwin {
namespace {

template <KvType kType>
void store_numbers(const float* k, const float* v, size_t head_dim, const WideChannels&, std::byte* page, size_t slot) {
  if constexpr (kType == KvType::f32) {
    auto* out = reinterpret_cast<float*>(page);
    for (size_t d = 0; d < head_dim; ++d) out[key_number(head_dim, d, slot)] = k[d];
    memcpy(out + (kPageSize + slot) * head_dim, v, head_dim * sizeof(float));
  } else {
    auto* out = reinterpret_cast<uint16_t*>(page);
    for (size_t d = 0; d < head_dim; d += Isa::kRows) {
      uint16_t halves[Isa::kRows];
      Isa::store_half(halves, Isa::load_float(k + d));
      for (int i = 0; i < Isa::kRows; ++i) out[key_number(head_dim, d + i, slot)] = halves[i];
      Isa::store_half(out + (kPageSize + slot) * head_dim + d, Isa::load_float(v + d));
    }
  }
}

constexpr float kMaxWide = 32512;  // 127 * 256

// Codes of one token's row, clamped to +-limit.
inline void quantize_token(const float* x, size_t n, float scale, float limit, int32_t* codes) {
  const float inverse = scale > 0 ? 1.0f / scale : 0;
  for (size_t d = 0; d < n; ++d) {
    float code = __builtin_nearbyintf(x[d] * inverse);
    code = code > limit ? limit : code;
    codes[d] = int32_t(code < -limit ? -limit : code);
  }
}

void store_q8(const float* k, const float* v, size_t head_dim, const WideChannels& wide, std::byte* page, size_t slot) {
  const KvPageLayout layout = kv_page_layout(KvType::q8, head_dim, size_t(wide.count));
  constexpr size_t kMaxHeadDim = 256;
  float narrow[kMaxHeadDim];
  memcpy(narrow, k, head_dim * sizeof(float));
  float wide_max = 0;
  for (int w = 0; w < wide.count; ++w) {
    if (wide.channels[w] < 0) continue;
    const float magnitude = __builtin_fabsf(k[wide.channels[w]]);
    wide_max = magnitude > wide_max ? magnitude : wide_max;
    narrow[wide.channels[w]] = 0;
  }
  const float narrow_scale = largest_magnitude(narrow, head_dim) / 127.0f, wide_scale = wide_max / kMaxWide;
  const float k_scale = narrow_scale > wide_scale ? narrow_scale : wide_scale;
  const float v_scale = largest_magnitude(v, head_dim) / 127.0f;
  // A token that is not finite: the scale of V carries the fault into every result that sees it.
  const bool finite = all_finite(k, head_dim) && all_finite(v, head_dim);
  const float scales[2] = {finite && k_scale > kMinScale ? k_scale : 0, finite && v_scale > kMinScale ? v_scale : 0};
  const float v_stored = finite ? scales[1] : __builtin_nanf("");
  memcpy(page + layout.k_scales + 4 * slot, &scales[0], 4);
  memcpy(page + layout.v_scales + 4 * slot, &v_stored, 4);

  int32_t codes[kMaxHeadDim];
  auto* out = reinterpret_cast<uint8_t*>(page);
  const size_t channels = head_dim + size_t(wide.count);
  const auto k_offset = [=](size_t channel) { return key_code(channels, channel, slot); };
  quantize_token(narrow, scales[0] > 0 ? head_dim : 0, scales[0], 127, codes);
  if (scales[0] == 0) memset(codes, 0, sizeof codes);
  for (size_t d = 0; d < head_dim; ++d) out[k_offset(d)] = uint8_t(codes[d] + 128);
  for (int w = 0; w < wide.count; ++w) {
    int32_t code = 0;
    if (wide.channels[w] >= 0 && scales[0] > 0) quantize_token(k + wide.channels[w], 1, scales[0], kMaxWide, &code);
    const int32_t high = (code + 128) >> 8;
    out[k_offset(head_dim + size_t(w))] = uint8_t(high + 128);
    if (wide.channels[w] >= 0) out[k_offset(size_t(wide.channels[w]))] = uint8_t(code - 256 * high + 128);
  }
  quantize_token(v, scales[1] > 0 ? head_dim : 0, scales[1], 127, codes);
  if (scales[1] == 0) memset(codes, 0, sizeof codes);
  uint8_t* v_out = out + layout.v + (slot / 4 * head_dim) * 4 + slot % 4;
  for (size_t d = 0; d < head_dim; ++d) v_out[4 * d] = uint8_t(codes[d]);
}

}  // namespace
}  // namespace qwin
