// SPDX-License-Identifier: Apache-2.0
// Stored elements of any type to float32: the meaning of a weight file, used by the float32 oracle and at load time.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace qwin {

// Writes num_elements floats, bit for bit those of the Python package gguf (finite scales). `src` may have any
// alignment and holds num_elements / block_elements whole blocks. Throws Error(bad_shape) when that does not divide.
void dequantize(DType type, const std::byte* src, size_t num_elements, float* dst);

}  // namespace qwin
