// SPDX-License-Identifier: Apache-2.0
// The JSON header of a safetensors file, read without building a document.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace qwin {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<uint64_t> shape;  // outermost first
  uint64_t begin = 0, end = 0;  // in the buffer behind the header
};

// The tensors in header order. Throws Error: bad_magic, bad_config, bad_type, bad_shape or too_large, its text led by
// `label`.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view header, const std::string& label);

}  // namespace qwin
