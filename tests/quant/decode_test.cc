// SPDX-License-Identifier: Apache-2.0
#include "quant/decode.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/half.h"
#include "quant/golden.h"
#include "qwin/error.h"

namespace qwin {
namespace {

// Calls f(type, format, decoded block, expected floats of the block) for every golden block.
template <typename F>
void for_each_block(F f) {
  for (const Golden& g : read_dequantize_goldens()) {
    const CodeFormat* format = code_format(g.type);
    if (format == nullptr) continue;
    const DTypeInfo& info = dtype_info(g.type);
    for (size_t i = 0; i < g.floats.size() / info.block_elements; ++i) {
      CodeBlock block;
      std::memset(&block, 0xa5, sizeof(block));  // what decode_block leaves out shows
      decode_block(g.type, g.bytes.data() + i * info.block_bytes, &block);
      f(g.type, *format, block, g.floats.data() + i * info.block_elements);
    }
  }
}

TEST(DecodeTest, CodesTimesScalesAreTheWeightsBitForBit) {
  int num_blocks = 0;
  for_each_block([&](DType type, const CodeFormat&, const CodeBlock& b, const float* expected) {
    for (int i = 0; i < b.num_elements; ++i) {
      const int g = i / b.group_size;
      const float w = (b.d * b.sub_scales[g]) * b.codes[i] - b.dmin * b.sub_mins[g];
      ASSERT_EQ(std::memcmp(&w, expected + i, 4), 0)
          << dtype_info(type).name << " block " << num_blocks << " element " << i << ": " << w << ", " << expected[i];
    }
    ++num_blocks;
  });
  EXPECT_EQ(num_blocks, 6 * 57 + 6 * 21 + 5 * 33);
}

TEST(DecodeTest, EveryFieldKeepsItsRangeAndFullRangesOccur) {
  int min_code[kNumDTypes] = {};
  int max_code[kNumDTypes] = {};
  for_each_block([&](DType type, const CodeFormat& format, const CodeBlock& b, const float*) {
    EXPECT_EQ(b.num_elements, format.num_elements);
    EXPECT_EQ(b.group_size, format.group_size);
    EXPECT_EQ(static_cast<uint32_t>(b.num_elements), dtype_info(type).block_elements);
    const float unit = has_head(type) ? kHeadUnit : 1.0f;
    EXPECT_EQ(half_to_float(b.d_bits) * unit, b.d);
    EXPECT_EQ(half_to_float(b.dmin_bits), b.dmin);
    for (int g = 0; g < format.num_groups(); ++g) {
      const bool flat = format.num_groups() == 1;
      EXPECT_TRUE(flat ? b.sub_scales[g] == 1 : b.sub_scales[g] >= -128 && b.sub_scales[g] <= 127);
      if (!format.has_mins) {
        EXPECT_EQ(b.sub_mins[g], 0);
      }
      if (format.has_mins) {
        EXPECT_TRUE(flat ? b.sub_mins[g] == 1 : b.sub_mins[g] >= 0 && b.sub_mins[g] <= 63);
      }
    }
    if (!format.has_mins) {
      EXPECT_EQ(b.dmin_bits, 0);
    }
    for (int i = 0; i < b.num_elements; ++i) {
      ASSERT_LT(b.quants[i], 1 << format.bits);
      ASSERT_EQ(b.codes[i], format.has_table ? kIq4Values[b.quants[i]] : b.quants[i] - format.zero_point);
      min_code[static_cast<int>(type)] = std::min<int>(min_code[static_cast<int>(type)], b.codes[i]);
      max_code[static_cast<int>(type)] = std::max<int>(max_code[static_cast<int>(type)], b.codes[i]);
    }
  });
  const int expected[][2] = {{-8, 7}, {0, 15},   {-16, 15},   {0, 31},     {-128, 127}, {0, 3},    {-4, 3},    {0, 15},
                             {0, 31}, {-32, 31}, {-127, 113}, {-127, 113}, {-127, 113}, {-32, 31}, {-128, 127}};
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(min_code[i + 3], expected[i][0]) << dtype_info(static_cast<DType>(i + 3)).name;
    EXPECT_EQ(max_code[i + 3], expected[i][1]) << dtype_info(static_cast<DType>(i + 3)).name;
  }
}

TEST(DecodeTest, MinOfQ4_1IsItsOffsetWithTheSignFlipped) {
  BlockQ4_1 source = {};
  source.d = 0x3c00;  // 1
  source.m = 0x4200;  // 3
  source.qs[0] = 0x52;
  CodeBlock b;
  decode_block(DType::q4_1, reinterpret_cast<const std::byte*>(&source), &b);
  EXPECT_EQ(b.dmin_bits, 0xc200);
  EXPECT_EQ(b.dmin, -3.0f);
  EXPECT_EQ(b.codes[0], 2);
  EXPECT_EQ(b.codes[16], 5);
}

TEST(DecodeTest, SignedSubScalesOfQ6_KAreKept) {
  BlockQ6_K source = {};
  source.d = 0x3c00;
  source.scales[3] = -128;
  source.ql[48] = 0x1f;  // low bits of elements 48 and 112
  source.qh[16] = 0x8c;  // elements 16: 0, 48: 3, 80: 0, 112: 2
  CodeBlock b;
  decode_block(DType::q6_k, reinterpret_cast<const std::byte*>(&source), &b);
  EXPECT_EQ(b.sub_scales[3], -128);
  EXPECT_EQ(b.codes[48], 63 - 32);
  EXPECT_EQ(b.codes[112], 33 - 32);
  EXPECT_EQ(b.codes[16], -32);
}

TEST(DecodeTest, RefusesTypesWithoutCodes) {
  const std::byte src[4] = {};
  CodeBlock block;
  for (DType type : {DType::f32, DType::f16, DType::bf16}) {
    EXPECT_EQ(code_format(type), nullptr);
    EXPECT_EQ(unpack_block(type), nullptr);
    EXPECT_THROW(decode_block(type, src, &block), Error);
  }
}

}  // namespace
}  // namespace qwin
