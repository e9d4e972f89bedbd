// SPDX-License-Identifier: Apache-2.0
#include "kv_cache/page_pool.h"

#include <gtest/gtest.h>

namespace qwin {
namespace {

TEST(PagePoolTest, HandsOutEveryIdOnceLowestFirst) {
  PagePool pool(5);
  for (int32_t i = 0; i < 5; ++i) EXPECT_EQ(pool.allocate(), i);
  EXPECT_EQ(pool.allocate(), -1);
  EXPECT_EQ(pool.num_used(), 5);
}

TEST(PagePoolTest, SharedPageIsFreeWhenTheLastHolderLetsGo) {
  PagePool pool(2);
  const int32_t page = pool.allocate();
  pool.retain(page);
  pool.release(page);
  EXPECT_EQ(pool.num_used(), 1);
  EXPECT_EQ(pool.num_free(), 1);
  pool.release(page);
  EXPECT_EQ(pool.num_used(), 0);
  EXPECT_EQ(pool.num_free(), 2);
}

TEST(PagePoolTest, CachedPageIsNeitherUsedNorFree) {
  PagePool pool(2);
  const int32_t page = pool.allocate();
  pool.set_cached(page, true);
  pool.release(page);
  EXPECT_EQ(pool.num_used(), 0);
  EXPECT_EQ(pool.num_cached(), 1);
  EXPECT_EQ(pool.num_free(), 1);
  pool.retain(page);
  EXPECT_EQ(pool.num_used(), 1);
  EXPECT_EQ(pool.num_cached(), 0);
  pool.set_cached(page, false);
  EXPECT_EQ(pool.num_free(), 1);
  pool.release(page);
  EXPECT_EQ(pool.num_free(), 2);
}

TEST(PagePoolDeathTest, UsingWhatNobodyHoldsIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  PagePool pool(3);
  EXPECT_DEATH(pool.release(1), "");
  EXPECT_DEATH(pool.retain(1), "");
  EXPECT_DEATH(pool.set_cached(1, true), "");
  EXPECT_DEATH(pool.release(3), "");
}

}  // namespace
}  // namespace qwin
