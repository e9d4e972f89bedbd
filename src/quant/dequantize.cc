// SPDX-License-Identifier: Apache-2.0
#include "quant/dequantize.h"

#include <cstring>
#include <string>

#include "core/half.h"
#include "quant/decode.h"
#include "qwin/error.h"

namespace qwin {
namespace {

template <typename ToFloat>
void convert_16_bit(const std::byte* src, size_t n, float* dst, ToFloat to_float) {
  for (size_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, src + 2 * i, 2);
    dst[i] = to_float(bits);
  }
}

// The products are rounded one by one: the scale of the group first, then the code, then the min is taken off.
void reconstruct(const CodeBlock& b, float* dst) {
  const int num_groups = b.num_elements / b.group_size;
  for (int g = 0; g < num_groups; ++g) {
    const float scale = b.d * static_cast<float>(b.sub_scales[g]);
    const float min = b.dmin * static_cast<float>(b.sub_mins[g]);
    const int16_t* codes = b.codes + g * b.group_size;
    float* out = dst + g * b.group_size;
    for (int i = 0; i < b.group_size; ++i) out[i] = scale * static_cast<float>(codes[i]) - min;
  }
}

}  // namespace

void dequantize(DType type, const std::byte* src, size_t num_elements, float* dst) {
  const DTypeInfo& info = dtype_info(type);
  if (num_elements % info.block_elements != 0) {
    throw Error(ErrorCode::bad_shape, std::to_string(num_elements) + " elements are not whole " +
                                          std::string(info.name) + " blocks of " + std::to_string(info.block_elements));
  }
  if (num_elements == 0) return;
  switch (type) {
    case DType::f32: std::memcpy(dst, src, num_elements * sizeof(float)); return;
    case DType::f16: convert_16_bit(src, num_elements, dst, half_to_float); return;
    case DType::bf16: convert_16_bit(src, num_elements, dst, bfloat16_to_float); return;
    default: break;
  }
  CodeBlock block;
  for (size_t i = 0; i < num_elements; i += info.block_elements, src += info.block_bytes) {
    decode_block(type, src, &block);
    reconstruct(block, dst + i);
  }
}

}  // namespace qwin
