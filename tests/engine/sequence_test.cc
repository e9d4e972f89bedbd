// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace qwin {

namespace {

std::vector<int32_t> ids(int first, int count) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return values;
}

// Reads tokens as the engine does.
void read(Sequence& sequence, const std::vector<int32_t>& tokens) {
  ASSERT_TRUE(sequence.reserve(static_cast<int64_t>(tokens.size())));
  sequence.append(tokens);
}

class SequenceTest : public testing::Test {
 protected:
  PagePool pool_{20};
};

TEST_F(SequenceTest, KeepsTheSharedPrefixAndItsPages) {
  Sequence sequence(pool_, 0, 0);
  read(sequence, ids(0, 200));
  EXPECT_EQ(pool_.num_used(), 4);
  std::vector<int32_t> prompt = ids(0, 100);
  prompt.push_back(999);
  EXPECT_EQ(sequence.keep_prefix(prompt), 100);
  EXPECT_EQ(sequence.num_tokens(), 100);
  EXPECT_EQ(pool_.num_used(), 2);
}

TEST_F(SequenceTest, NeverKeepsTheWholePrompt) {
  Sequence sequence(pool_, 0, 0);
  read(sequence, ids(0, 64));
  EXPECT_EQ(sequence.keep_prefix(ids(0, 64)), 63);
  EXPECT_EQ(sequence.keep_prefix(ids(0, 1)), 0);
  EXPECT_EQ(pool_.num_used(), 0);
}

TEST_F(SequenceTest, AnotherPromptStartsOver) {
  Sequence sequence(pool_, 0, 0);
  read(sequence, ids(0, 150));
  EXPECT_EQ(sequence.keep_prefix(ids(1, 50)), 0);
  EXPECT_EQ(sequence.num_tokens(), 0);
  EXPECT_EQ(pool_.num_used(), 0);
}

TEST_F(SequenceTest, RangeCoversTheNextTokens) {
  Sequence sequence(pool_, 0, 64);
  read(sequence, ids(0, 70));
  ASSERT_TRUE(sequence.reserve(60));
  const QueryRange range = sequence.next_range(5, 60);
  EXPECT_EQ(range.first_position, 70);
  EXPECT_EQ(range.first_row, 5u);
  EXPECT_EQ(range.num_tokens, 60u);
  EXPECT_EQ(range.window, 0);
  EXPECT_EQ(range.num_sinks, 0) << "without a window there are no sinks";
  EXPECT_TRUE(std::all_of(range.pages, range.pages + 3, [](int32_t page) { return page >= 0; }));
}

TEST_F(SequenceTest, ReserveBeyondThePoolChangesNothing) {
  Sequence sequence(pool_, 0, 0);
  read(sequence, ids(0, 100));
  EXPECT_FALSE(sequence.reserve(20 * kPageSize));
  EXPECT_EQ(sequence.num_tokens(), 100);
  EXPECT_EQ(pool_.num_used(), 2);
}

TEST_F(SequenceTest, WindowGivesBackWhatNoLaterQuerySees) {
  Sequence sequence(pool_, 64, 64);
  read(sequence, ids(0, 64));
  read(sequence, ids(64, 64));
  EXPECT_EQ(pool_.num_used(), 2) << "the next query, at 128, sees 65 on";
  read(sequence, ids(128, 63));
  EXPECT_EQ(pool_.num_used(), 2) << "the query at 191 sees 128 on: page 1 has left";
  EXPECT_EQ(sequence.next_range(0, 0).pages[1], PageTable::kNoPage);
}

TEST_F(SequenceTest, PrefixWhosePagesHaveLeftIsReadAgain) {
  Sequence sequence(pool_, 64, 0);
  read(sequence, ids(0, 300));
  // Position 250 would look back to 187, whose page is still held; 220 to 157, in a page that has left.
  ASSERT_LE(pool_.num_used(), 2);
  EXPECT_EQ(sequence.keep_prefix(ids(0, 221)), 0);
  EXPECT_EQ(pool_.num_used(), 0);
  read(sequence, ids(0, 300));
  EXPECT_EQ(sequence.keep_prefix(ids(0, 299)), 298);
}

// Whatever the sizes: every key that a later query sees has a page, and all pages come back.
TEST_F(SequenceTest, EveryVisibleKeyHasAPage) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const int64_t window = round % 4 == 0 ? 0 : 1 + static_cast<int64_t>(random() % 200),
                  sinks = static_cast<int64_t>(random() % 150);
    {
      Sequence sequence(pool_, window, sinks);
      for (int step = 0; step < 30; ++step) {
        const int64_t count = 1 + static_cast<int64_t>(random() % 90);
        if (random() % 6 == 0 && sequence.num_tokens() > 0)
          sequence.keep_prefix(
              ids(0, static_cast<int>(1 + random() % static_cast<uint64_t>(sequence.num_tokens() + 1))));
        if (!sequence.reserve(count)) break;
        const QueryRange range = sequence.next_range(0, static_cast<size_t>(count));
        for (int64_t query = range.first_position; query < range.first_position + count; ++query) {
          for (int64_t key = 0; key <= query; ++key) {
            const bool visible = window == 0 || key > query - window || key < range.num_sinks;
            ASSERT_TRUE(!visible || range.pages[key / kPageSize] >= 0)
                << "key " << key << " of query " << query << ", window " << window << ", sinks " << sinks;
          }
        }
        sequence.append(ids(static_cast<int>(sequence.num_tokens()), static_cast<int>(count)));
      }
    }
    ASSERT_EQ(pool_.num_used(), 0);
  }
}

}  // namespace

}  // namespace qwin
