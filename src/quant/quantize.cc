// SPDX-License-Identifier: Apache-2.0
#include "quant/quantize.h"

#include <cmath>
#include <cstring>
#include <string>

#include "core/half.h"
#include "quant/block_formats.h"
#include "qwin/error.h"

namespace qwin {
namespace {

// Rounds half away from zero, exactly: x - whole has no rounding error.
int round_half_away(float x) {
  const int whole = static_cast<int>(x);
  const float fraction = x - static_cast<float>(whole);
  return whole + (fraction >= 0.5f) - (fraction <= -0.5f);
}

BlockQ8_0 quantize_block(const float* x) {
  float max = 0;
  bool finite = true;
  for (int i = 0; i < kFlatElements; ++i) {
    const float a = std::fabs(x[i]);
    finite &= std::isfinite(a);
    max = a > max ? a : max;
  }
  const float d = max / 127.0f;
  BlockQ8_0 block;
  block.d = float_to_half(d);
  if (!finite || (block.d & 0x7c00u) == 0x7c00u) {
    throw Error(ErrorCode::non_finite, "a weight is not finite or too large for Q8_0 (its scale must fit in f16)");
  }
  // 1 / d overflows for the very smallest d as it does for 0: the weights are then 0, as their scale is in f16.
  const float inverse = std::isfinite(1.0f / d) ? 1.0f / d : 0.0f;
  for (int i = 0; i < kFlatElements; ++i) block.qs[i] = static_cast<int8_t>(round_half_away(x[i] * inverse));
  return block;
}

}  // namespace

void quantize_q8_0(const float* src, size_t n, std::byte* dst) {
  if (n % kFlatElements != 0) {
    throw Error(ErrorCode::bad_shape, std::to_string(n) + " elements are not whole Q8_0 blocks of 32");
  }
  for (size_t i = 0; i < n; i += kFlatElements, dst += sizeof(BlockQ8_0)) {
    const BlockQ8_0 block = quantize_block(src + i);
    std::memcpy(dst, &block, sizeof(block));
  }
}

}  // namespace qwin
