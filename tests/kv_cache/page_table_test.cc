// SPDX-License-Identifier: Apache-2.0
// Page accounting: examples, and random histories against a plain model of who holds what.
#include "kv_cache/page_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>

namespace qwin {

namespace {

TEST(PagePoolTest, HandsOutEveryIdOnceLowestFirst) {
  PagePool pool(5);
  for (int32_t i = 0; i < 5; ++i) EXPECT_EQ(pool.allocate(), i);
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_EQ(pool.num_used(), 5);
  EXPECT_EQ(pool.allocate(), -1);
  EXPECT_EQ(pool.num_used(), 5);
}

TEST(PagePoolTest, ReleasedIdsComeBack) {
  PagePool pool(3);
  for (int i = 0; i < 3; ++i) pool.allocate();
  pool.release(1);
  EXPECT_EQ(pool.num_free(), 1);
  EXPECT_EQ(pool.allocate(), 1);
}

TEST(PagePoolTest, EmptyPoolHasNothing) {
  PagePool pool(0);
  EXPECT_EQ(pool.allocate(), -1);
  EXPECT_EQ(pool.num_pages(), 0);
}

TEST(PagePoolDeathTest, ReleasingWhatNobodyHoldsIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  PagePool pool(3);
  const int32_t page = pool.allocate();
  pool.release(page);
  EXPECT_DEATH(pool.release(page), "check failed");
  EXPECT_DEATH(pool.release(-1), "check failed");
  EXPECT_DEATH(pool.release(3), "check failed");
}

TEST(PageTableTest, ReserveTakesWholePagesAndOnlyMissingOnes) {
  PagePool pool(10);
  PageTable table(pool, 64);
  EXPECT_TRUE(table.reserve(1));
  EXPECT_EQ(pool.num_used(), 1);
  EXPECT_TRUE(table.reserve(64));
  EXPECT_EQ(pool.num_used(), 1);
  EXPECT_TRUE(table.reserve(65));
  EXPECT_EQ(pool.num_used(), 2);
  EXPECT_TRUE(table.reserve(10));  // never shrinks
  EXPECT_EQ(pool.num_used(), 2);
}

TEST(PageTableTest, ReserveBeyondThePoolChangesNothing) {
  PagePool pool(3);
  PageTable table(pool, 64);
  ASSERT_TRUE(table.reserve(100));
  const std::vector<int32_t> before = table.pages();
  EXPECT_FALSE(table.reserve(4 * 64));
  EXPECT_EQ(table.pages(), before);
  EXPECT_EQ(pool.num_used(), 2);
  EXPECT_TRUE(table.reserve(3 * 64));
}

TEST(PageTableTest, ReleaseLeavesHolesThatTruncateSkips) {
  PagePool pool(8);
  PageTable table(pool, 64);
  ASSERT_TRUE(table.reserve(6 * 64));
  table.release(1, 4);
  EXPECT_EQ(pool.num_used(), 3);
  EXPECT_EQ(table.pages(), (std::vector<int32_t>{0, PageTable::kNoPage, PageTable::kNoPage, PageTable::kNoPage, 4, 5}));
  table.release(0, 3);
  table.release(3, 100);
  EXPECT_EQ(pool.num_used(), 0);
  EXPECT_EQ(table.pages().size(), 6u);
  table.truncate(2 * 64);
  EXPECT_EQ(table.pages().size(), 2u);
  EXPECT_TRUE(table.reserve(3 * 64));
  EXPECT_EQ(pool.num_used(), 1);
}

TEST(PageTableTest, GivesItsPagesBackWhenItDies) {
  PagePool pool(8);
  {
    PageTable table(pool, 64);
    ASSERT_TRUE(table.reserve(500));
    table.release(2, 4);
  }
  EXPECT_EQ(pool.num_used(), 0);
}

// Several tables grow, shrink, give pages back and die at random.
class PageHistory {
 public:
  PageHistory(uint32_t seed, int32_t num_pages) : random_(seed), pool_(num_pages) {}

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      act();
      ASSERT_NO_FATAL_FAILURE(check()) << "step " << step;
    }
    tables_.clear();
    ASSERT_EQ(pool_.num_free(), pool_.num_pages());
  }

 private:
  int64_t up_to(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n)(random_); }

  void act() {
    if (tables_.empty() || up_to(9) == 0) {
      tables_.push_back(std::make_unique<PageTable>(pool_, kPageSize));
      return;
    }
    const size_t at = static_cast<size_t>(up_to(static_cast<int64_t>(tables_.size()) - 1));
    PageTable& table = *tables_[at];
    switch (up_to(4)) {
      case 0:
      case 1: reserve(table, up_to(12 * kPageSize)); break;
      case 2: table.truncate(up_to(12 * kPageSize)); break;
      case 3: table.release(up_to(8), up_to(14)); break;
      default: tables_.erase(tables_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }

  void reserve(PageTable& table, int64_t length) {
    const std::vector<int32_t> before = table.pages();
    const int32_t free_before = pool_.num_free();
    const int64_t wanted = (length + kPageSize - 1) / kPageSize, missing = wanted - static_cast<int64_t>(before.size());
    ASSERT_EQ(table.reserve(length), missing <= free_before);
    if (missing > free_before) {
      ASSERT_EQ(table.pages(), before);
    } else {
      ASSERT_EQ(static_cast<int64_t>(table.pages().size()),
                std::max<int64_t>(wanted, static_cast<int64_t>(before.size())));
    }
  }

  void check() const {
    std::set<int32_t> held;
    for (const auto& table : tables_) {
      for (const int32_t page : table->pages()) {
        if (page == PageTable::kNoPage) continue;
        ASSERT_TRUE(page >= 0 && page < pool_.num_pages());
        ASSERT_TRUE(held.insert(page).second) << "page " << page << " is held twice";
      }
    }
    ASSERT_EQ(static_cast<int32_t>(held.size()), pool_.num_used());
    ASSERT_EQ(pool_.num_used() + pool_.num_free(), pool_.num_pages());
  }

  static constexpr int64_t kPageSize = 64;
  std::mt19937 random_;
  PagePool pool_;
  std::vector<std::unique_ptr<PageTable>> tables_;
};

TEST(PageTablePropertyTest, NoPageIsEverHeldTwiceOrLost) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    for (const int32_t pages : {1, 7, 40}) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", " << pages << " pages");
      ASSERT_NO_FATAL_FAILURE(PageHistory(seed, pages).run(300));
    }
  }
}

}  // namespace

}  // namespace qwin
