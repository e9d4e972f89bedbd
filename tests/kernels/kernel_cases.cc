// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernel_cases.h"

#include <algorithm>
#include <cstring>

#include "core/cpu_info.h"
#include "core/half.h"

namespace qwin {

namespace {

constexpr int kMaxOutlier = 28672;

// Writes one span from its integers, the way the quantizer would; `outlier` is the place that may exceed 8 bits.
void set_span(QuantizedInput& input, int token, int span, const int32_t (&values)[kSpan], int outlier) {
  const size_t at = static_cast<size_t>(token) * input.num_spans + span;
  int8_t* codes = input.codes.data() + token * input.code_stride + static_cast<size_t>(span) * kSpan;
  for (int g = 0; g < 8; ++g) input.sums[at * 8 + g] = 0;
  for (int k = 0; k < kSpan; ++k) {
    input.sums[at * 8 + k / 16] = static_cast<int16_t>(input.sums[at * 8 + k / 16] + values[k]);
    codes[k] = static_cast<int8_t>(values[k]);
  }
  const int high = (values[outlier] + 128) >> 8;
  codes[outlier] = static_cast<int8_t>(values[outlier] - 256 * high);
  input.outliers[at] = static_cast<int32_t>(static_cast<uint32_t>(high & 0xff) << (8 * (outlier % 4)));
  input.outlier_quads[at] = static_cast<uint8_t>(outlier / 4);
}

int code_of(Random& random, RowPattern pattern, int k) {
  switch (pattern) {
    case RowPattern::all_plus: return 127;
    case RowPattern::all_minus: return -127;
    case RowPattern::alternating: return k % 2 == 0 ? 127 : -127;
    case RowPattern::zero: return 0;
    default: return static_cast<int>(random() % 255) - 127;
  }
}

int outlier_of(Random& random, RowPattern pattern) {
  switch (pattern) {
    case RowPattern::all_plus: return kMaxOutlier;
    case RowPattern::all_minus: return -kMaxOutlier;
    case RowPattern::alternating: return random() % 2 == 0 ? kMaxOutlier : -kMaxOutlier;
    case RowPattern::zero: return 0;
    default: return static_cast<int>(random() % (2 * kMaxOutlier + 1)) - kMaxOutlier;
  }
}

float scale_of(Random& random, RowPattern pattern) {
  static constexpr float kExtreme[] = {1e-45f, 1e-38f, 1e-30f, 1e-10f, 1.0f, 1e10f, 1e20f, 1e30f, 0.0f};
  if (pattern == RowPattern::zero) return 0;
  if (pattern == RowPattern::extreme_scales) return kExtreme[random() % std::size(kExtreme)];
  return std::uniform_real_distribution<float>(0.001f, 0.1f)(random);
}

// A finite half: any sign, exponent and mantissa, denormals among them.
uint16_t random_half(Random& random, WeightPattern pattern) {
  if (pattern == WeightPattern::denormal_scales) return static_cast<uint16_t>(random() & 0x83ff);
  if (pattern == WeightPattern::max_codes) return 0x7bff;  // 65504
  uint16_t half = static_cast<uint16_t>(random());
  if ((half & 0x7c00) == 0x7c00) half &= 0xbfff;
  return half;
}

}  // namespace

std::vector<CpuIsa> runnable_rungs() {
  std::vector<CpuIsa> rungs = {CpuIsa::reference};
  const CpuIsa best = detect_cpu_isa();
  for (const CpuIsa isa : {CpuIsa::avx2, CpuIsa::avx2_vnni, CpuIsa::avx512, CpuIsa::avx512_vnni}) {
    if (isa > best) break;
#if defined(__x86_64__)
    // The only rung that a higher one does not include: AVX-512 machines may lack the 256-bit encoding.
    if (isa == CpuIsa::avx2_vnni && !__builtin_cpu_supports("avxvnni")) continue;
#endif
    rungs.push_back(isa);
  }
  return rungs;
}

GuardedArray<float> random_floats(Random& random, size_t count, float scale) {
  GuardedArray<float> values(count);
  std::normal_distribution<float> normal;
  for (float& value : values) value = scale * normal(random);
  return values;
}

QuantizedInput::QuantizedInput(int num_tokens, int num_spans)
    : num_tokens(num_tokens),
      num_spans(num_spans),
      code_stride(static_cast<size_t>(num_spans) * kSpan + 64),
      codes((static_cast<size_t>(num_tokens) - 1) * code_stride + static_cast<size_t>(num_spans) * kSpan),
      scales(static_cast<size_t>(num_tokens) * num_spans),
      outliers(scales.size()),
      outlier_quads(scales.size()),
      sums(scales.size() * 8) {}

QuantizedRows QuantizedInput::rows() const {
  return {codes.data(), scales.data(), outliers.data(), outlier_quads.data(), sums.data()};
}

QuantizedRows QuantizedInput::row(int token) const {
  const size_t first = static_cast<size_t>(token) * num_spans;
  return {codes.data() + token * code_stride, scales.data() + first, outliers.data() + first,
          outlier_quads.data() + first, sums.data() + first * 8};
}

int32_t QuantizedInput::code(int token, int k) const {
  const QuantizedRows x = row(token);
  const int span = k / kSpan, place = k % kSpan;
  int32_t code = x.codes[k];
  if (x.outlier_quads[span] == place / 4)
    code += 256 * static_cast<int8_t>(static_cast<uint32_t>(x.outliers[span]) >> (8 * (place % 4)));
  return code;
}

QuantizedInput make_input(Random& random, int num_tokens, int num_spans, RowPattern pattern) {
  QuantizedInput input(num_tokens, num_spans);
  const int first_outlier = static_cast<int>(random() % kSpan);  // 128 tokens have it in every place of a span
  for (int t = 0; t < num_tokens; ++t) {
    for (int span = 0; span < num_spans; ++span) {
      int32_t values[kSpan];
      for (int k = 0; k < kSpan; ++k) values[k] = code_of(random, pattern, k);
      const int outlier = (first_outlier + t + span) % kSpan;
      values[outlier] = outlier_of(random, pattern);
      set_span(input, t, span, values, outlier);
      input.scales[static_cast<size_t>(t) * num_spans + span] = scale_of(random, pattern);
    }
  }
  return input;
}

size_t tile_bytes_of(PackedFormat format, int num_spans) {
  const PackedLayout layout = packed_layout(format);
  return static_cast<size_t>(num_spans / layout.spans_per_block()) * layout.block_bytes();
}

GuardedArray<uint8_t> make_tiles(Random& random, PackedFormat format, int num_rows, int num_spans,
                                 WeightPattern pattern) {
  const PackedLayout layout = packed_layout(format);
  const size_t tiles = static_cast<size_t>(num_rows + kTileRows - 1) / kTileRows;
  GuardedArray<uint8_t> bytes(tiles * tile_bytes_of(format, num_spans));
  for (size_t at = 0; at < bytes.size(); at += layout.block_bytes()) {
    uint8_t* block = bytes.data() + at;
    for (size_t i = 0; i < layout.block_bytes(); ++i) {
      block[i] = pattern == WeightPattern::max_codes   ? 0xff
                 : pattern == WeightPattern::min_codes ? 0
                                                       : static_cast<uint8_t>(random());
    }
    if (layout.nested() && pattern == WeightPattern::max_codes)
      std::memset(block + layout.scales_offset(), 0x80, layout.mins_offset() - layout.scales_offset());  // -128
    const size_t halves = layout.nested() ? layout.super_offset() : layout.scales_offset();
    for (size_t i = halves; i + 1 < layout.block_bytes(); i += 2) {
      const uint16_t half = random_half(random, pattern);
      std::memcpy(block + i, &half, 2);
    }
  }
  return bytes;
}

GroupSums::GroupSums(const QuantizedInput& input, PackedFormat format) {
  const PackedLayout layout = packed_layout(format);
  const size_t spans = input.scales.size(), groups = static_cast<size_t>(layout.groups_per_span());
  zero_sums = GuardedArray<int32_t>(spans * groups);
  min_sums = GuardedArray<int16_t>(spans * groups);
  static constexpr size_t kOrder[4] = {0, 2, 1, 3};
  for (size_t span = 0; span < spans; ++span) {
    for (size_t g = 0; g < groups; ++g) {
      int sum = 0;
      for (size_t i = 0; i < 8 / groups; ++i) sum += input.sums[span * 8 + g * (8 / groups) + i];
      zero_sums[span * groups + g] = layout.scale == ScaleKind::flat_min ? sum : -layout.zero * sum;
      min_sums[span * groups + g / 4 * 4 + kOrder[g % 4]] = static_cast<int16_t>(sum);
    }
  }
}

}  // namespace qwin
