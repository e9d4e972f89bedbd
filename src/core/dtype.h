// SPDX-License-Identifier: Apache-2.0
// Element and block types of stored tensors, named after GGUF's; the last five are qwin's own. A block is the smallest
// unit that can be decoded alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace qwin {

enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  q4,
  q6,
  q8,
  q3,
  q5,
};
inline constexpr int kNumDTypes = 20;

struct DTypeInfo {
  std::string_view name;    // "Q4_K"
  uint32_t block_elements;  // elements a block, 1 for the plain types
  uint32_t block_bytes;     // bytes a block
};

const DTypeInfo& dtype_info(DType type);

// Q3, Q4, Q5 and Q6: sub-scales in a head of 32 bits.
constexpr bool has_head(DType type) {
  return type == DType::q3 || type == DType::q4 || type == DType::q5 || type == DType::q6;
}

// Bytes of `elements` in a row. Requires: they are whole blocks.
inline size_t row_bytes(DType type, size_t elements) {
  const DTypeInfo& info = dtype_info(type);
  return elements / info.block_elements * info.block_bytes;
}

}  // namespace qwin
