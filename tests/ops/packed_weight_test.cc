// SPDX-License-Identifier: Apache-2.0
#include "ops/packed_weight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "core/buffer.h"
#include "ops/stored_blocks.h"
#include "quant/quantize_spans.h"
#include "qwin/error.h"

namespace qwin {

namespace {

TEST(PackedWeightTest, FillsExactlyTheBytesItAnnounces) {
  std::mt19937_64 random(1);
  ThreadTeam team(2, {});
  for (const DType dtype : kAllDTypes) {
    for (const size_t rows : {1, 16, 17, 200}) {
      const size_t columns = dtype_info(dtype).block_elements > 32 ? 768 : 160;
      const StoredBlocks blocks(random, dtype, rows, columns);
      const size_t bytes = packed_weight_bytes(blocks.stored, packed_type(blocks.stored.dtype));
      EXPECT_EQ(bytes % 64, 0u);
      const Buffer buffer(bytes + 64);
      std::memset(buffer.data() + bytes, 0x5a, 64);
      const PackedWeight weight = pack_weight(team, blocks.stored, packed_type(blocks.stored.dtype), buffer.data());
      EXPECT_EQ(weight.num_tiles * weight.tile_bytes, bytes) << dtype_info(dtype).name << ", " << rows << " rows";
      for (size_t i = bytes; i < bytes + 64; ++i)
        ASSERT_EQ(buffer.data()[i], std::byte{0x5a}) << dtype_info(dtype).name;
    }
  }
}

TEST(PackedWeightTest, TheNumberOfThreadsDoesNotChangeAByte) {
  std::mt19937_64 random(2);
  for (const DType dtype : kAllDTypes) {
    const StoredBlocks blocks(random, dtype, 333, 256);
    const size_t bytes = packed_weight_bytes(blocks.stored, packed_type(blocks.stored.dtype));
    const Buffer one(bytes), three(bytes);
    ThreadTeam team_of_one(1, {}), team_of_three(3, {});
    pack_weight(team_of_one, blocks.stored, packed_type(blocks.stored.dtype), one.data());
    pack_weight(team_of_three, blocks.stored, packed_type(blocks.stored.dtype), three.data());
    EXPECT_EQ(std::memcmp(one.data(), three.data(), bytes), 0) << dtype_info(dtype).name;
  }
}

TEST(PackedWeightTest, RefusesFloatWeightsThatAreNotFinite) {
  std::mt19937_64 random(3);
  ThreadTeam team(2, {});
  for (const size_t place : {size_t{0}, size_t{64 * 40 - 1}}) {
    StoredBlocks blocks(random, DType::f32, 40, 64);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(&blocks.bytes[place * 4], &nan, 4);
    const Buffer buffer(packed_weight_bytes(blocks.stored, packed_type(blocks.stored.dtype)));
    try {
      pack_weight(team, blocks.stored, packed_type(blocks.stored.dtype), buffer.data());
      FAIL() << "packed a NaN at " << place;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::non_finite);
    }
  }
}

// What is quantized while it is packed is what a file of that type would have given.
TEST(PackedWeightTest, QuantizesLikeAFileOfThatType) {
  std::mt19937_64 random(4);
  ThreadTeam team(2, {});
  const size_t rows = 37, columns = 384;
  for (const DType from : {DType::f32, DType::f16, DType::q5_0}) {
    const StoredBlocks blocks(random, from, rows, columns);
    for (const DType type : {DType::q3, DType::q4, DType::q5, DType::q6, DType::q8}) {
      StoredMatrix file{nullptr, type, rows, columns};
      std::vector<std::byte> bytes(rows * file.row_bytes());
      for (size_t i = 0; i < rows; ++i)
        quantize_spans(type, blocks.row(i).data(), columns, 32, bytes.data() + i * file.row_bytes());
      file.data = bytes.data();
      const size_t packed = packed_weight_bytes(file, type);
      ASSERT_EQ(packed_weight_bytes(blocks.stored, type), packed);
      const Buffer loaded(packed), quantized(packed);
      pack_weight(team, file, type, loaded.data());
      pack_weight(team, blocks.stored, type, quantized.data());
      EXPECT_EQ(std::memcmp(loaded.data(), quantized.data(), packed), 0)
          << dtype_info(from).name << " to " << dtype_info(type).name;
    }
  }
}

}  // namespace

}  // namespace qwin
