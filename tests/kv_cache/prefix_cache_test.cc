// SPDX-License-Identifier: Apache-2.0
#include "kv_cache/prefix_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwin {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kPage = 4;

class PrefixCacheTest : public testing::Test {
 protected:
  // Reads `tokens` as a sequence does, and lets go: whole pages, then the rest. Returns the pages.
  std::vector<int32_t> remember(const std::vector<int32_t>& tokens, const CachePlan& plan = {}) {
    const PrefixMatch match = cache_.match(plan, {});
    int32_t node = match.node;
    std::vector<int32_t> pages;
    for (size_t begin = 0; begin < tokens.size(); begin += kPage) {
      const size_t count = std::min<size_t>(kPage, tokens.size() - begin);
      pages.push_back(pool_.allocate());
      EXPECT_GE(pages.back(), 0);
      node = cache_.insert(node, {tokens.data() + begin, count}, pages.back());
      if (const int32_t kept = cache_.page(node); kept != pages.back()) {
        pool_.release(pages.back());
        pages.back() = kept;
        pool_.retain(kept);
      }
    }
    for (const int32_t page : pages) pool_.release(page);
    cache_.unpin(node);
    return pages;
  }
  void let_go(const PrefixMatch& match) {
    for (const int32_t page : match.pages) {
      if (page >= 0) pool_.release(page);
    }
    if (match.tail_node >= 0) cache_.release_tail(match.tail_node);
    cache_.unpin(match.node);
  }
  // Tokens known of `tokens`.
  int64_t known(const std::vector<int32_t>& tokens, const CachePlan& plan = {}) {
    const PrefixMatch match = cache_.match(plan, tokens);
    let_go(match);
    return static_cast<int64_t>(match.pages.size()) * kPage + match.tail_tokens;
  }

  PagePool pool_{16};
  PrefixCache cache_{pool_, kPage};
};

TEST_F(PrefixCacheTest, FindsTheLongestPrefixInWholePagesAndATail) {
  const std::vector<int32_t> pages = remember({1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  const PrefixMatch match = cache_.match({}, std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12});
  EXPECT_THAT(match.pages, ElementsAre(pages[0], pages[1]));
  EXPECT_EQ(cache_.page(match.tail_node), pages[2]);
  EXPECT_EQ(match.tail_tokens, 1);
  EXPECT_EQ(pool_.num_used(), 3);
  let_go(match);
  EXPECT_EQ(pool_.num_used(), 0);
  EXPECT_EQ(pool_.num_cached(), 3);
  EXPECT_EQ(known({1, 2, 3, 4, 5, 6, 9, 9}), 6) << "part of a whole page";
  EXPECT_EQ(known({2, 1}), 0);
  EXPECT_EQ(known({}), 0);
}

TEST_F(PrefixCacheTest, ALongerEndTakesThePlaceOfAShorterOne) {
  remember({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(pool_.num_cached(), 2);
  remember({1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(pool_.num_cached(), 2);
  EXPECT_EQ(known({1, 2, 3, 4, 5, 6, 7, 8}), 7);
  remember({1, 2, 3, 4, 5, 6, 7, 8});
  remember({1, 2, 3, 4, 5});
  EXPECT_EQ(pool_.num_cached(), 2) << "what is known in full is not kept again";
  remember({1, 2, 3, 4, 5, 9});
  EXPECT_EQ(pool_.num_cached(), 3);
}

TEST_F(PrefixCacheTest, EqualContentIsKeptOnce) {
  const std::vector<int32_t> first = remember({1, 2, 3, 4, 5, 6, 7, 8}), second = remember({1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(first, second);
  EXPECT_EQ(pool_.num_cached(), 2);
}

// The tree's own key is a page's first token: what follows it is compared, token by token.
TEST_F(PrefixCacheTest, PagesUnderTheSameKeyAreToldApartByTheirTokens) {
  const std::vector<int32_t> first = remember({1, 2, 3, 4}), second = remember({1, 2, 3, 5}),
                             third = remember({1, 9, 9, 9});
  const auto page_of = [&](const std::vector<int32_t>& tokens) {
    const PrefixMatch match = cache_.match({}, tokens);
    let_go(match);
    return match.pages;
  };
  EXPECT_EQ(page_of({1, 2, 3, 4}), first);
  EXPECT_EQ(page_of({1, 2, 3, 5}), second);
  EXPECT_EQ(page_of({1, 9, 9, 9}), third);
  EXPECT_EQ(known({1, 8, 9, 9}), 1) << "the first token alone";
}

TEST_F(PrefixCacheTest, PlansAndSaltsDoNotMix) {
  remember({1, 2, 3, 4}, {.salt = "a"});
  EXPECT_EQ(known({1, 2, 3, 4}, {.salt = "a"}), 4);
  EXPECT_EQ(known({1, 2, 3, 4}, {.salt = "b"}), 0);
  EXPECT_EQ(known({1, 2, 3, 4}), 0);
  EXPECT_EQ(known({1, 2, 3, 4}, {.salt = "a", .window = 8}), 0);
}

TEST_F(PrefixCacheTest, EvictsTheOldestLeafAndNeverWhatIsInUse) {
  remember({1, 2, 3, 4, 5, 6, 7, 8});
  remember({9, 9, 9, 9});
  const PrefixMatch in_use = cache_.match({}, std::vector<int32_t>{1, 2, 3, 4, 0});
  ASSERT_EQ(in_use.pages.size(), 1u);
  known({9, 9, 9, 9});
  EXPECT_TRUE(cache_.evict());
  EXPECT_EQ(known({1, 2, 3, 4, 5, 6, 7, 8}), 4) << "its end went first: used longest ago";
  EXPECT_TRUE(cache_.evict());
  EXPECT_EQ(known({9, 9, 9, 9}), 0);
  EXPECT_FALSE(cache_.evict());
  let_go(in_use);
  EXPECT_TRUE(cache_.evict());
  EXPECT_EQ(pool_.num_free(), 16);
  EXPECT_EQ(cache_.num_nodes(), 0);
}

TEST_F(PrefixCacheTest, ATailBeingCopiedIsNotEvicted) {
  remember({1, 2, 3});
  const PrefixMatch match = cache_.match({}, std::vector<int32_t>{1, 2, 9});
  ASSERT_GE(match.tail_node, 0);
  EXPECT_FALSE(cache_.evict());
  let_go(match);
  EXPECT_TRUE(cache_.evict());
}

TEST_F(PrefixCacheTest, DeepPagesStayLongerThanShallowOnes) {
  PrefixCache cache(pool_, kPage, 1);  // attention soon outweighs all else
  std::vector<int32_t> tokens(24);
  const PrefixMatch root = cache.match({}, {});
  int32_t node = root.node;
  for (int i = 0; i < 6; ++i) {
    const int32_t page = pool_.allocate();
    node = cache.insert(node, {tokens.data(), kPage}, page);
    pool_.release(page);
  }
  cache.unpin(node);
  const PrefixMatch other = cache.match({}, {});
  const int32_t page = pool_.allocate();
  const int32_t shallow = cache.insert(other.node, std::vector<int32_t>{7}, page);
  pool_.release(page);
  cache.unpin(shallow);
  EXPECT_TRUE(cache.evict());
  const PrefixMatch match = cache.match({}, tokens);
  EXPECT_EQ(match.pages.size(), 6u) << "the shallow page was newer but cheaper";
  for (const int32_t held : match.pages) pool_.release(held);
  cache.unpin(match.node);
  cache.clear();
}

class WindowedPrefixCacheTest : public PrefixCacheTest {
 protected:
  const CachePlan plan_{.salt = "", .window = 4, .num_sinks = 2};
};

TEST_F(WindowedPrefixCacheTest, PagesThatTheWindowHasPassedMayGoAndTheRestIsStillFound) {
  const PrefixMatch root = cache_.match(plan_, {});
  std::vector<int32_t> tokens(20), nodes, pages;
  for (int32_t i = 0; i < 20; ++i) tokens[static_cast<size_t>(i)] = i;
  int32_t node = root.node;
  for (size_t i = 0; i < 5; ++i) {
    pages.push_back(pool_.allocate());
    nodes.push_back(node = cache_.insert(node, {tokens.data() + i * kPage, kPage}, pages.back()));
  }
  for (const size_t i : {1, 2, 3}) {
    pool_.release(pages[i]);
    cache_.passed(nodes[i]);
  }
  EXPECT_TRUE(cache_.evict());
  EXPECT_TRUE(cache_.evict());
  EXPECT_TRUE(cache_.evict());
  EXPECT_FALSE(cache_.evict()) << "the sinks and the window are in use";
  pool_.release(pages[0]);
  pool_.release(pages[4]);
  cache_.unpin(node);

  tokens.push_back(99);
  const PrefixMatch match = cache_.match(plan_, tokens);
  EXPECT_THAT(match.pages, ElementsAre(pages[0], -1, -1, -1, pages[4]));
  let_go(match);
  EXPECT_EQ(known({tokens.begin(), tokens.begin() + 16}, plan_), 4) << "its window has gone, only the sinks are left";
  cache_.clear();
  EXPECT_EQ(pool_.num_free(), 16);
  EXPECT_EQ(cache_.num_nodes(), 0);
}

}  // namespace
}  // namespace qwin
