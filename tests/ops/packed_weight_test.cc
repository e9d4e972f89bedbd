// SPDX-License-Identifier: Apache-2.0
#include "ops/packed_weight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "core/buffer.h"
#include "ops/stored_blocks.h"
#include "qwin/error.h"

namespace qwin {

namespace {

TEST(PackedWeightTest, FillsExactlyTheBytesItAnnounces) {
  std::mt19937_64 random(1);
  ThreadTeam team(2, {});
  for (const DType dtype : kAllDTypes) {
    for (const size_t rows : {1, 16, 17, 200}) {
      const size_t columns = dtype_info(dtype).block_elements == 256 ? 768 : 160;
      const StoredBlocks blocks(random, dtype, rows, columns);
      const size_t bytes = packed_weight_bytes(blocks.stored);
      EXPECT_EQ(bytes % 64, 0u);
      const Buffer buffer(bytes + 64);
      std::memset(buffer.data() + bytes, 0x5a, 64);
      const PackedWeight weight = pack_weight(team, blocks.stored, buffer.data());
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
    const size_t bytes = packed_weight_bytes(blocks.stored);
    const Buffer one(bytes), three(bytes);
    ThreadTeam team_of_one(1, {}), team_of_three(3, {});
    pack_weight(team_of_one, blocks.stored, one.data());
    pack_weight(team_of_three, blocks.stored, three.data());
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
    const Buffer buffer(packed_weight_bytes(blocks.stored));
    try {
      pack_weight(team, blocks.stored, buffer.data());
      FAIL() << "packed a NaN at " << place;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::non_finite);
    }
  }
}

}  // namespace

}  // namespace qwin
