// SPDX-License-Identifier: Apache-2.0
// The specification of paged attention: pages in order, one online-softmax update (arXiv 2205.14135) a page.
#include <cmath>
#include <limits>

#include "core/half.h"
#include "kernels/cpu_kernels.h"
#include "kernels/reference/exp_reference.h"

namespace qwin {

namespace {

template <KvType kType>
float load_kv(const std::byte* p, size_t index) {
  if constexpr (kType == KvType::f32) return reinterpret_cast<const float*>(p)[index];
  return half_to_float(reinterpret_cast<const uint16_t*>(p)[index]);
}

template <KvType kType>
void store_kv_reference(const float* k, const float* v, size_t head_dim, std::byte* page, size_t slot) {
  for (size_t d = 0; d < head_dim; ++d) {
    const size_t k_at = d * kPageSize + slot, v_at = (kPageSize + slot) * head_dim + d;
    if constexpr (kType == KvType::f32) {
      reinterpret_cast<float*>(page)[k_at] = k[d];
      reinterpret_cast<float*>(page)[v_at] = v[d];
    } else {
      reinterpret_cast<uint16_t*>(page)[k_at] = float_to_half(k[d]);
      reinterpret_cast<uint16_t*>(page)[v_at] = float_to_half(v[d]);
    }
  }
}

bool visible(const AttentionArgs& args, int64_t key, int64_t query) {
  if (key > query) return false;
  return args.window == 0 || key > query - args.window || key < args.num_sinks;
}

template <KvType kType>
void attend_row(const AttentionArgs& args, int64_t query, const float* q, float* out) {
  const auto head_dim = static_cast<size_t>(args.head_dim);
  float max = -std::numeric_limits<float>::infinity(), sum = 0;
  for (size_t d = 0; d < head_dim; ++d) out[d] = 0;
  for (int64_t first = 0; first <= query; first += kPageSize) {
    const std::byte* page = args.base + static_cast<size_t>(args.pages[first / kPageSize]) * args.page_stride;
    float scores[kPageSize];
    float page_max = -std::numeric_limits<float>::infinity();
    for (int j = 0; j < kPageSize; ++j) {
      scores[j] = -std::numeric_limits<float>::infinity();
      if (!visible(args, first + j, query)) continue;
      float dot = 0;
      for (size_t d = 0; d < head_dim; ++d) dot = std::fma(q[d], load_kv<kType>(page, d * kPageSize + j), dot);
      scores[j] = dot * args.softmax_scale;
      page_max = std::fmax(page_max, scores[j]);
    }
    if (page_max == -std::numeric_limits<float>::infinity()) continue;
    const float new_max = std::fmax(max, page_max);
    const float keep = exp_reference(max - new_max);
    for (size_t d = 0; d < head_dim; ++d) out[d] *= keep;
    float lanes[16] = {};
    for (int j = 0; j < kPageSize; ++j) {
      const float p = exp_reference(scores[j] - new_max);
      lanes[j % 16] += p;
      if (p == 0) continue;
      const size_t row = (kPageSize + static_cast<size_t>(j)) * head_dim;
      for (size_t d = 0; d < head_dim; ++d) out[d] = std::fma(p, load_kv<kType>(page, row + d), out[d]);
    }
    sum = sum * keep + reduce_lanes(lanes);
    max = new_max;
  }
  const float inverse = 1.0f / sum;
  for (size_t d = 0; d < head_dim; ++d) out[d] *= inverse;
}

template <KvType kType>
void attention_reference(const AttentionArgs& args) {
  for (int t = 0; t < args.num_tokens; ++t) {
    for (int h = 0; h < args.group; ++h) {
      const size_t at = static_cast<size_t>(h) * args.head_dim;
      attend_row<kType>(args, args.first_position + t, args.q + t * args.q_stride + at,
                        args.out + t * args.out_stride + at);
    }
  }
}

}  // namespace

void add_reference_attention(CpuKernels& kernels) {
  kernels.store_kv[int(KvType::f32)] = store_kv_reference<KvType::f32>;
  kernels.store_kv[int(KvType::f16)] = store_kv_reference<KvType::f16>;
  kernels.attention[int(KvType::f32)] = attention_reference<KvType::f32>;
  kernels.attention[int(KvType::f16)] = attention_reference<KvType::f16>;
}

}  // namespace qwin
