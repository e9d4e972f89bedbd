// SPDX-License-Identifier: Apache-2.0
// Float weights to Q8_0 blocks: how F32, F16 and BF16 files enter the int8 kernels.
#pragma once

#include <cstddef>

namespace qwin {

// Writes n / 32 blocks of Q8_0 (34 bytes each), bit for bit those of the Python package gguf.
// Throws Error(bad_shape) when n is not a multiple of 32, Error(non_finite) when a weight is not finite or its scale is
// beyond f16's range.
void quantize_q8_0(const float* src, size_t n, std::byte* dst);

}  // namespace qwin
