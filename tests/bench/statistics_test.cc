// SPDX-License-Identifier: Apache-2.0
#include "bench/statistics.h"

#include <gtest/gtest.h>

namespace qwin {

namespace {

TEST(StatisticsTest, MedianIsTheMiddleOrTheMeanOfTheTwoMiddles) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 4}), 4);
  EXPECT_EQ(median({8, 2, 4, 100}), 6);
}

TEST(StatisticsTest, SpreadIsRelativeToTheMedian) {
  EXPECT_EQ(spread({5}), 0);
  EXPECT_EQ(spread({8, 10, 13}), 0.5);
}

}  // namespace

}  // namespace qwin
