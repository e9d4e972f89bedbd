// SPDX-License-Identifier: Apache-2.0
#include "quant/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "quant/block_formats.h"
#include "quant/golden.h"
#include "qwin/error.h"

namespace qwin {
namespace {

ErrorCode quantize_error(const std::vector<float>& x) {
  std::vector<std::byte> out(x.size() / 32 * sizeof(BlockQ8_0) + sizeof(BlockQ8_0));
  try {
    quantize_q8_0(x.data(), x.size(), out.data());
  } catch (const Error& e) {
    return e.code();
  }
  return ErrorCode::cancelled;
}

TEST(QuantizeTest, EqualsTheGgufPackageBitForBit) {
  GoldenReader reader("quantize_q8_0.bin");
  const size_t n = reader.read<uint32_t>(1)[0];
  const std::vector<float> x = reader.read<float>(n);
  const std::vector<std::byte> expected = reader.read<std::byte>(n / 32 * 34);
  EXPECT_TRUE(reader.at_end());
  std::vector<std::byte> out(expected.size());
  quantize_q8_0(x.data(), n, out.data());
  const size_t same = std::mismatch(out.begin(), out.end(), expected.begin()).first - out.begin();
  EXPECT_EQ(same, out.size()) << "block " << same / 34 << " byte " << same % 34;
}

TEST(QuantizeTest, WeightsTooSmallForAnyScaleAreZero) {
  const std::vector<float> x(32, 1e-40f);
  BlockQ8_0 block;
  quantize_q8_0(x.data(), 32, reinterpret_cast<std::byte*>(&block));
  EXPECT_EQ(block.d, 0);
  for (int8_t q : block.qs) EXPECT_EQ(q, 0);
}

TEST(QuantizeTest, RefusesWhatItCannotHold) {
  std::vector<float> x(32, 1.0f);
  for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), -1e30f}) {
    x[7] = bad;
    EXPECT_EQ(quantize_error(x), ErrorCode::non_finite) << bad;
  }
  EXPECT_EQ(quantize_error(std::vector<float>(33)), ErrorCode::bad_shape);
}

}  // namespace
}  // namespace qwin
