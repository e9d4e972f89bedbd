// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernel_cases.h"

#include <algorithm>
#include <cstring>

#include "core/cpu_info.h"
#include "core/half.h"

namespace qwin {

namespace {

// Writes one span from its codes, of which `outliers` are kept apart, the first of them as the largest.
void set_span(QuantizedInput& input, int token, int span, int (&codes)[kSpan], const std::vector<Outlier>& outliers) {
  const size_t at = static_cast<size_t>(span) * input.token_stride + static_cast<size_t>(token);
  for (const Outlier& outlier : outliers) codes[outlier.column] = 0;
  input.outliers[at] = outliers[0];
  std::copy(outliers.begin() + 1, outliers.end(), input.extras.data() + at * kMaxExtras);
  const size_t block = static_cast<size_t>(span / kBlockSpans) * input.token_stride + static_cast<size_t>(token);
  input.extra_counts[block * kBlockSpans + static_cast<size_t>(span % kBlockSpans)] =
      static_cast<uint8_t>(outliers.size() - 1);
  for (size_t g = 0; g < 8; ++g) input.sums[at * 8 + g] = 0;
  for (size_t k = 0; k < kSpan; ++k) {
    input.sums[at * 8 + k / 16] = static_cast<int16_t>(input.sums[at * 8 + k / 16] + codes[k]);
    input.codes[at * kSpan + k] = static_cast<int8_t>(codes[k]);
  }
}

// Eight of 16 codes at 127 and one at 7 reach kMaxCodeSum; which ones changes from group to group.
int largest_code(int k) {
  const int place = (k + k / 16 * 3) % 16;
  return place < 8 ? 127 : place == 8 ? kMaxCodeSum - 8 * 127 : 0;
}

int code_of(Random& random, RowPattern pattern, int k) {
  switch (pattern) {
    case RowPattern::all_plus: return largest_code(k);
    case RowPattern::all_minus: return -largest_code(k);
    case RowPattern::alternating: return k % 2 == 0 ? largest_code(k) : -largest_code(k);
    case RowPattern::zero: return 0;
    default:
      return std::clamp(static_cast<int>(std::normal_distribution<float>(0, 30)(random)), -62, 62) * (1 + (k % 2));
  }
}

// The first is any, then come the extra ones in order of column from `place`.
std::vector<Outlier> outliers_of(Random& random, RowPattern pattern, int place) {
  std::normal_distribution<float> normal(0, 300);
  if (pattern == RowPattern::zero) return {{0, 0}};
  std::vector<Outlier> outliers = {{normal(random), static_cast<uint32_t>(place)}};
  int count = pattern == RowPattern::alternating ? kMaxExtras : 0;
  if (pattern == RowPattern::random && random() % 4 == 0) count = 1 + static_cast<int>(random() % kMaxExtras);
  for (int i = 0; i < count && ++place < kSpan; ++i, place += static_cast<int>(random() % 40))
    outliers.push_back({normal(random), static_cast<uint32_t>(place)});
  return outliers;
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

// span_sub5: the scale of a half without its sign, and sub-scales, -16 at the most.
void fill_heads(Random& random, WeightPattern pattern, uint8_t* block) {
  for (size_t row = 0; row < kTileRows; ++row) {
    const uint32_t subs = pattern == WeightPattern::max_codes   ? 0x84210
                          : pattern == WeightPattern::min_codes ? 0
                                                                : static_cast<uint32_t>(random() & 0xfffff);
    const uint32_t head = static_cast<uint32_t>(random_half(random, pattern) & 0x7fff) >> 3 << 20 | subs;
    std::memcpy(block + 4 * row, &head, 4);
  }
}

}  // namespace

std::vector<CpuIsa> runnable_rungs() {
  std::vector<CpuIsa> rungs = {CpuIsa::reference};
  const CpuIsa best = detect_cpu_isa();
  for (const CpuIsa isa : {CpuIsa::avx2, CpuIsa::avx2_vnni, CpuIsa::avx512, CpuIsa::avx512_vnni, CpuIsa::amx}) {
    if (isa > best) break;
#if defined(__x86_64__)
    // The only rung that a higher one does not include: AVX-512 machines may lack the 256-bit encoding.
    if (isa == CpuIsa::avx2_vnni && !__builtin_cpu_supports("avxvnni")) continue;
#endif
    rungs.push_back(isa);
  }
  return rungs;
}

namespace {

bool is_runnable(CpuIsa isa) {
  const std::vector<CpuIsa> rungs = runnable_rungs();
  return std::find(rungs.begin(), rungs.end(), isa) != rungs.end();
}

}  // namespace

std::vector<CpuIsa> tested_rungs() {
  std::vector<CpuIsa> rungs = runnable_rungs();
  if (!is_runnable(CpuIsa::avx512_vnni)) return rungs;
  for (const CpuIsa isa : {CpuIsa::avx2_vnni, CpuIsa::amx}) {
    if (!is_runnable(isa)) rungs.push_back(isa);
  }
  return rungs;
}

CpuKernels make_tested_kernels(CpuIsa isa) {
  if (is_runnable(isa)) return make_cpu_kernels(isa);
  CpuKernels kernels = make_cpu_kernels(isa == CpuIsa::amx ? CpuIsa::avx512_vnni : CpuIsa::avx2);
#if defined(__x86_64__)
  isa == CpuIsa::amx ? add_emulated_amx(kernels) : add_emulated_avx2_vnni(kernels);
#endif
  return kernels;
}

std::string rung_and_kv_type(const testing::TestParamInfo<std::tuple<CpuIsa, KvType>>& info) {
  return std::string(cpu_isa_name(std::get<0>(info.param))) + "_" + kv_type_name(std::get<1>(info.param));
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
      token_stride(static_cast<size_t>(num_tokens) + (num_tokens > 4 ? 3 : 0)),
      codes(((static_cast<size_t>(num_spans) - 1) * token_stride + static_cast<size_t>(num_tokens)) * kSpan),
      scales(codes.size() / kSpan),
      sums(scales.size() * 8),
      outliers(scales.size()),
      extra_counts(
          (static_cast<size_t>((num_spans - 1) / kBlockSpans) * token_stride + static_cast<size_t>(num_tokens)) *
          kBlockSpans),
      extras(scales.size() * kMaxExtras) {}

QuantizedRows QuantizedInput::rows(int first_token) const {
  return {.codes = codes.data() + first_token * kSpan,
          .scales = scales.data() + first_token,
          .sums = sums.data() + first_token * 8,
          .outliers = outliers.data() + first_token,
          .extra_counts = extra_counts.data() + first_token * kBlockSpans,
          .extras = extras.data() + first_token * kMaxExtras,
          .token_stride = token_stride};
}

int QuantizedInput::code(int token, int k) const {
  return codes[(static_cast<size_t>(k / kSpan) * token_stride + static_cast<size_t>(token)) * kSpan +
               static_cast<size_t>(k % kSpan)];
}

int QuantizedInput::extra_count(int token, int span) const {
  const size_t block = static_cast<size_t>(span / kBlockSpans) * token_stride + static_cast<size_t>(token);
  return extra_counts[block * kBlockSpans + static_cast<size_t>(span % kBlockSpans)];
}

double QuantizedInput::value(int token, int k) const {
  const int span = k / kSpan;
  const size_t at = static_cast<size_t>(span) * token_stride + static_cast<size_t>(token);
  const auto column = static_cast<uint32_t>(k % kSpan);
  if (outliers[at].column == column) return outliers[at].value;
  for (size_t i = 0; i < static_cast<size_t>(extra_count(token, span)); ++i) {
    if (extras[at * kMaxExtras + i].column == column) return extras[at * kMaxExtras + i].value;
  }
  return static_cast<double>(scale(token, span)) * code(token, k);
}

QuantizedInput make_input(Random& random, int num_tokens, int num_spans, RowPattern pattern) {
  QuantizedInput input(num_tokens, num_spans);
  const int first_outlier = static_cast<int>(random() % kSpan);  // 128 tokens have it in every place of a span
  for (int t = 0; t < num_tokens; ++t) {
    for (int span = 0; span < num_spans; ++span) {
      int codes[kSpan];
      for (int k = 0; k < kSpan; ++k) codes[k] = code_of(random, pattern, k);
      set_span(input, t, span, codes, outliers_of(random, pattern, (first_outlier + t + span) % kSpan));
      input.scales[static_cast<size_t>(span) * input.token_stride + static_cast<size_t>(t)] = scale_of(random, pattern);
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
    for (int span = 0; layout.nested() && pattern == WeightPattern::max_codes && span < layout.spans_per_block();
         ++span)
      std::memset(block + layout.span_offset(span), 0x80, layout.scales_bytes());  // -128
    if (layout.scale == ScaleKind::span_sub5) {
      fill_heads(random, pattern, block);
      continue;
    }
    const size_t halves = layout.nested() ? layout.span_offset(0) : layout.codes_offset();  // where the f16 end
    for (size_t i = 0; i < halves; i += 2) {
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
