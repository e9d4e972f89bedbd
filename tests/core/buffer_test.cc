// SPDX-License-Identifier: Apache-2.0
#include "core/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <utility>

namespace qwin {

namespace {

TEST(BufferTest, IsZeroedAndAlignedAtEverySize) {
  for (const size_t size : {size_t{1}, size_t{64}, size_t{4095}, size_t{4097}, kHugePageSize - 1, kHugePageSize,
                            kHugePageSize + 1, 3 * kHugePageSize}) {
    const Buffer buffer(size);
    ASSERT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % (size < kHugePageSize ? 4096 : kHugePageSize), 0u) << size;
    EXPECT_TRUE(std::all_of(buffer.data(), buffer.data() + size, [](std::byte b) { return b == std::byte{0}; }))
        << size;
    buffer.data()[0] = buffer.data()[size - 1] = std::byte{1};
  }
}

TEST(BufferTest, NoBytesIsNoMemory) {
  EXPECT_EQ(Buffer().data(), nullptr);
  EXPECT_EQ(Buffer(0).data(), nullptr);
}

TEST(BufferTest, MovingPassesTheBytesOn) {
  Buffer a(100);
  a.as<int>()[3] = 42;
  std::byte* const data = a.data();
  Buffer b(std::move(a));
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);
  Buffer c(5);
  c = std::move(b);
  EXPECT_EQ(c.data(), data);
  EXPECT_EQ(c.as<int>()[3], 42);
  EXPECT_EQ(c.size(), 100u);
}

TEST(BufferTest, LargeBuffersComeAndGo) {
  for (int i = 0; i < 200; ++i) {
    const Buffer buffer((size_t{1} << 30) + static_cast<size_t>(i) * 4096);
    buffer.data()[buffer.size() - 1] = std::byte{1};
  }
}

TEST(BufferTest, WhatTheSystemRefusesIsBadAlloc) { EXPECT_THROW(Buffer(size_t{1} << 60), std::bad_alloc); }

}  // namespace

}  // namespace qwin
