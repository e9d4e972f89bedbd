// SPDX-License-Identifier: Apache-2.0
#include "quant/dequantize.h"

#include <gtest/gtest.h>

#include <set>

#include "quant/golden.h"
#include "qwin/error.h"

namespace qwin {
namespace {

TEST(DequantizeTest, EqualsTheGgufPackageBitForBit) {
  std::set<DType> seen;
  for (const Golden& g : read_dequantize_goldens()) {
    const DTypeInfo& info = dtype_info(g.type);
    ASSERT_EQ(g.floats.size() / info.block_elements * info.block_bytes, g.bytes.size()) << info.name;
    std::vector<float> out(g.floats.size());
    dequantize(g.type, g.bytes.data(), out.size(), out.data());
    const size_t i = first_difference(out.data(), g.floats.data(), out.size());
    EXPECT_EQ(i, out.size()) << info.name << " element " << i << ": " << out[i % out.size()] << " instead of "
                             << g.floats[i % out.size()];
    seen.insert(g.type);
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kNumDTypes));
}

TEST(DequantizeTest, ReadsFromAnyAlignmentAndWritesOnlyItsElements) {
  for (const Golden& g : read_dequantize_goldens()) {
    const DTypeInfo& info = dtype_info(g.type);
    std::vector<std::byte> shifted(info.block_bytes + 1);
    std::memcpy(shifted.data() + 1, g.bytes.data(), info.block_bytes);
    std::vector<float> out(info.block_elements + 1, 77.0f);
    dequantize(g.type, shifted.data() + 1, info.block_elements, out.data());
    EXPECT_EQ(first_difference(out.data(), g.floats.data(), info.block_elements), info.block_elements) << info.name;
    EXPECT_EQ(out.back(), 77.0f) << info.name;
  }
}

TEST(DequantizeTest, RefusesPartsOfABlock) {
  float out[256];
  const std::byte src[256] = {};
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType type = static_cast<DType>(i);
    EXPECT_NO_THROW(dequantize(type, src, 0, out));
    if (dtype_info(type).block_elements == 1) continue;
    try {
      dequantize(type, src, dtype_info(type).block_elements - 1, out);
      ADD_FAILURE() << dtype_info(type).name;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::bad_shape);
    }
  }
}

}  // namespace
}  // namespace qwin
