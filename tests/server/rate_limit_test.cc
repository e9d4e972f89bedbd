// SPDX-License-Identifier: Apache-2.0
#include "server/rate_limit.h"

#include <gtest/gtest.h>

namespace qwin::server {
namespace {

TEST(RateLimitTest, LetsAMinutesRequestsPassAndThenOneAtATime) {
  RateLimit limit(6);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(limit.take("a", 100), 0);
  EXPECT_DOUBLE_EQ(limit.take("a", 100), 10);
  EXPECT_DOUBLE_EQ(limit.take("a", 104), 6);
  EXPECT_EQ(limit.take("a", 110), 0);
  EXPECT_GT(limit.take("a", 110), 0);
}

TEST(RateLimitTest, CountsEachClientAlone) {
  RateLimit limit(1);
  EXPECT_EQ(limit.take("a", 0), 0);
  EXPECT_GT(limit.take("a", 0), 0);
  EXPECT_EQ(limit.take("b", 0), 0);
}

TEST(RateLimitTest, ZeroIsNoLimit) {
  RateLimit limit(0);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(limit.take("a", 0), 0);
}

}  // namespace
}  // namespace qwin::server
