// SPDX-License-Identifier: Apache-2.0
// Float weights to qwin's own span blocks (Q3, Q4, Q5, Q6, Q8): the scales of each block are searched, not just taken
// from its largest value, since that is worth more than any other cheap step.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace qwin {

// Writes n / 128 blocks of `type` that keep sum of (w - src)^2 small. `group_size` columns share a sub-scale: 32, 64 or
// 128 (the format has room for 32). Throws Error: bad_shape when n is no multiple of 128, bad_type for another type,
// non_finite when a weight is not finite or beyond what the scale can say.
void quantize_spans(DType type, const float* src, size_t n, size_t group_size, std::byte* dst);

// A span whose columns are rounded from first to last.
struct OrderedSpan {
  const float* w;           // [128]
  float* target;            // [128] what to come near to: the weights, moved by what earlier spans lost; moved on here
  const float* importance;  // [128] what each column's error counts; not negative
  const float* feedback;    // [128, 128] row k: what column k's loss moves the targets of the columns after it by
  float* lost;              // [128] set to w - result
};

// One block. Sub-scales are searched when their group is reached. Returns sum of importance * (target - result)^2, each
// target as it was when its column was rounded. On the same terms as quantize_spans().
double quantize_span_in_order(DType type, const OrderedSpan& span, size_t group_size, std::byte* dst);

}  // namespace qwin
