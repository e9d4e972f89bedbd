// SPDX-License-Identifier: Apache-2.0
// The specification of activation quantization: symmetric 8 bits a span of 128, its largest values kept apart as they
// are. Groups without that drown in Qwen2.5's massive activations: mean KL 0.0023 instead of 0.0001 on the 1.5B.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu_kernels.h"

namespace qwin {

namespace {

// Where one span of one token goes.
struct SpanRow {
  SpanRow(const QuantizedRows& row, int span)
      : codes(row.codes + span * row.token_stride * kSpan),
        sums(row.sums + span * row.token_stride * 8),
        scale(row.scales + span * row.token_stride),
        outlier(row.outliers + span * row.token_stride),
        extra_count(row.extra_counts + span / kBlockSpans * row.token_stride * kBlockSpans + span % kBlockSpans),
        extras(row.extras + span * row.token_stride * kMaxExtras) {}

  // Every value stands for 0.
  void clear() const {
    std::fill_n(codes, kSpan, int8_t{0});
    std::fill_n(sums, 8, int16_t{0});
    *scale = 0;
    *outlier = {0, 0};
    *extra_count = 0;
  }

  int8_t* codes;
  int16_t* sums;
  float* scale;
  Outlier* outlier;
  uint8_t* extra_count;
  Outlier* extras;
};

// The largest magnitude up to `limit` besides x[without].
float largest(const float* x, int n, int without, float limit) {
  float max = 0;
  for (int k = 0; k < n; ++k) max = k != without && std::fabs(x[k]) <= limit ? std::max(max, std::fabs(x[k])) : max;
  return max;
}

// Values above this are extra outliers: up to n stand out when all others are smaller than the largest by n steps.
// Whatever stands out of the rest goes too, as long as there is room.
float extra_limit(const float* x, int n, int outlier) {
  float limit = std::numeric_limits<float>::infinity();
  for (int room = kMaxExtras, found = room; room > 0 && found > 0; room -= found) {
    const float max = largest(x, n, outlier, limit);
    found = 0;
    for (int count = room; count > 0 && found == 0; --count) {
      const float next = max * kExtraSteps[count - 1];
      int above = 0;
      for (int k = 0; k < n; ++k) above += k != outlier && std::fabs(x[k]) > next && std::fabs(x[k]) <= limit;
      if (above > count || above == 0) continue;
      found = above;
      limit = next;
    }
  }
  return limit;
}

// Codes of all values that are not apart, and the largest sum of 16 magnitudes.
int set_codes(const float* x, int n, int outlier, float limit, const SpanRow& row) {
  const float inverse = *row.scale > 0 ? 1.0f / *row.scale : 0.0f;
  std::fill_n(row.sums, 8, int16_t{0});
  int magnitudes[8] = {};
  for (int k = 0; k < n; ++k) {
    const bool apart = k == outlier || std::fabs(x[k]) > limit;
    row.codes[k] = apart ? int8_t{0} : static_cast<int8_t>(std::clamp(std::nearbyint(x[k] * inverse), -127.0f, 127.0f));
    row.sums[k / 16] += row.codes[k];
    magnitudes[k / 16] += std::abs(row.codes[k]);
  }
  return *std::max_element(magnitudes, magnitudes + 8);
}

void quantize_span(const float* x, int n, const SpanRow& row) {
  row.clear();
  if (!std::all_of(x, x + n, [](float v) { return std::isfinite(v); })) {
    // The scale carries the fault to the logits, where it is reported.
    *row.scale = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  const auto outlier =
      static_cast<int>(std::max_element(x, x + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); }) - x);
  *row.outlier = {x[outlier], static_cast<uint32_t>(outlier)};
  const float limit = extra_limit(x, n, outlier);
  for (int k = 0; k < n; ++k) {
    if (k != outlier && std::fabs(x[k]) > limit) row.extras[(*row.extra_count)++] = {x[k], static_cast<uint32_t>(k)};
  }

  *row.scale = largest(x, n, outlier, limit) / 127.0f;
  if (!(*row.scale > kMinScale)) *row.scale = 0;
  const int sum = set_codes(x, n, outlier, limit, row);
  if (sum <= kMaxCodeSum) return;
  *row.scale *= static_cast<float>(sum) / 1000.0f;  // 1000: rounding may add half a code to each of 16
  set_codes(x, n, outlier, limit, row);
}

void quantize_row_reference(const float* x, size_t n, const QuantizedRows& row) {
  for (size_t begin = 0; begin < n; begin += kSpan) {
    quantize_span(x + begin, static_cast<int>(std::min<size_t>(kSpan, n - begin)),
                  SpanRow(row, static_cast<int>(begin / kSpan)));
  }
}

}  // namespace

void add_reference_quantize(CpuKernels& kernels) { kernels.quantize_row = quantize_row_reference; }

}  // namespace qwin
