// SPDX-License-Identifier: Apache-2.0
#include "server/send_buffer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace qwin::server {
namespace {

TEST(SendBufferTest, BringsWhatWentInInTheSameOrder) {
  std::mt19937 random(1);
  SendBuffer buffer;
  std::string expected, got;
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes(random() % 40 == 0 ? random() % 50000 : random() % 300, static_cast<char>('a' + i % 26));
    buffer.append(bytes);
    expected += bytes;
    for (size_t left = random() % 1000; left > 0 && !buffer.empty();) {
      const size_t count = std::min(left, buffer.front().size());
      ASSERT_GT(count, 0u);
      got += buffer.front().substr(0, count);
      buffer.consume(count);
      left -= count;
    }
    ASSERT_EQ(buffer.size(), expected.size() - got.size());
  }
  while (!buffer.empty()) {
    got += buffer.front();
    buffer.consume(buffer.front().size());
  }
  EXPECT_EQ(got, expected);
  EXPECT_TRUE(buffer.front().empty());
}

TEST(SendBufferTest, AnEmptyOneIsNothing) {
  SendBuffer buffer;
  buffer.append("");
  EXPECT_TRUE(buffer.empty());
  buffer.append("abc");
  buffer.consume(3);
  EXPECT_TRUE(buffer.empty());
  buffer.append("de");
  EXPECT_EQ(buffer.front(), "de");
}

}  // namespace
}  // namespace qwin::server
