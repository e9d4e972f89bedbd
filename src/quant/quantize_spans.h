// SPDX-License-Identifier: Apache-2.0
// Float weights to qwin's own span blocks (Q4, Q6, Q8): the scales of each block are searched, not just taken from its
// largest value, since that is worth more than any other cheap step.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace qwin {

// Writes n / 128 blocks of `type` that keep sum of importance * (w - src)^2 small. `importance` [n] says how much each
// column's error matters (nullptr: all alike; not negative). `group_size` columns share a sub-scale: 32, 64 or 128
// (the format has room for 32). Throws Error: bad_shape when n is no multiple of 128, bad_type for another type,
// non_finite when a weight is not finite or beyond what the scale can say.
void quantize_spans(DType type, const float* src, size_t n, const float* importance, size_t group_size, std::byte* dst);

}  // namespace qwin
