// SPDX-License-Identifier: Apache-2.0
// The integer view of one quantized block, from which kernels repack weights without loss.
// For every element i of group g = i / group_size:  w = (d * sub_scales[g]) * codes[i] - dmin * sub_mins[g]
// and in float32, with that order of operations, w is bit for bit what dequantize() gives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "quant/block_formats.h"

namespace qwin {

// What all blocks of a type have in common.
struct CodeFormat {
  int num_elements;  // 32 (flat: one group), 128 (span) or 256 (nested)
  int group_size;    // elements that share a sub-scale: 16 or 32; Q8: 128
  int bits;          // a stored quant is in 0 … 2^bits - 1
  int zero_point;    // code = quant - zero_point; unused when has_table
  bool has_mins;     // Q4_1, Q5_1, Q2_K, Q4_K, Q5_K; otherwise dmin and sub_mins are zero
  bool has_table;    // IQ4_NL, IQ4_XS, Q3, Q4: code = kIq4Values[quant]

  int num_groups() const { return num_elements / group_size; }
};

// nullptr for F32, F16 and BF16, which have no codes.
const CodeFormat* code_format(DType type);

// Entries beyond num_elements and num_groups are unspecified.
struct CodeBlock {
  int32_t num_elements;
  int32_t group_size;
  uint16_t d_bits;     // f16 bits of d as stored; Q3, Q4, Q5, Q6: in units of kHeadUnit
  uint16_t dmin_bits;  // f16 bits of dmin; Q4_1 and Q5_1: of -m, their m with the sign flipped
  float d;
  float dmin;
  int16_t sub_scales[16];  // [num_groups], zero point subtracted; flat types and Q8: {1}
  int16_t sub_mins[16];    // [num_groups]; Q4_1, Q5_1: {1}; types without mins: 0
  int16_t codes[256];      // [num_elements], zero point subtracted
  uint8_t
      quants[256];  // [num_elements], unsigned as stored: code + zero_point, or the table index. Q8_0, Q8: code + 128
};

// Decodes the block at `src` (any alignment; dtype_info(type).block_bytes bytes).
// Throws Error(bad_type) for a type without codes.
void decode_block(DType type, const std::byte* src, CodeBlock* block);

// Sets only what is stored: d_bits, quants, and, where the type has them, dmin_bits, sub_scales and sub_mins.
using UnpackBlockFn = void (*)(const std::byte* src, CodeBlock* block);
// nullptr for a type without codes. Repacking a model calls it some 10^7 times: hence a function a type.
UnpackBlockFn unpack_block(DType type);

}  // namespace qwin
