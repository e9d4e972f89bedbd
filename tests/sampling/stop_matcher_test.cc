// SPDX-License-Identifier: Apache-2.0
#include "sampling/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace qwin {
namespace {

struct Outcome {
  std::string text;
  std::string stop;  // empty when none was found

  bool operator==(const Outcome&) const = default;
};

// The first end of a match wins, of several matches that end there the longest.
Outcome brute_force(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string longest;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop) && stop.size() > longest.size()) longest = stop;
    }
    if (!longest.empty()) return {text.substr(0, end - longest.size()), longest};
  }
  return {text, ""};
}

// The longest suffix of text that is a proper prefix of a stop.
size_t held_back(const std::string& text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t n = 1; n < stop.size(); ++n) {
      if (text.ends_with(stop.substr(0, n))) longest = std::max(longest, n);
    }
  }
  return longest;
}

std::string random_text(std::mt19937& random, size_t max_size) {
  static const std::string kAlphabet[] = {"a", "b", "ab", "é", "\n"};
  std::string text;
  for (size_t n = random() % (max_size + 1); n > 0; --n) text += kAlphabet[random() % 5];
  return text;
}

TEST(StopMatcherTest, EqualsBruteForceOnRandomTextInRandomPieces) {
  std::mt19937 random(5);
  int num_stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (size_t n = 1 + random() % 4; n > 0; --n) stops.push_back(random_text(random, 4) + "a");
    const std::string text = random_text(random, 25);
    StopMatcher matcher(stops);
    std::string emitted;
    for (size_t begin = 0; begin < text.size();) {
      const size_t size = std::min<size_t>(random() % 6, text.size() - begin);
      emitted += matcher.feed(text.substr(begin, size));
      begin += size;
      if (!matcher.stopped()) {
        const std::string so_far = text.substr(0, begin);
        ASSERT_EQ(emitted, so_far.substr(0, begin - held_back(so_far, stops)));  // nothing is held back in vain
      }
    }
    emitted += matcher.flush();
    const Outcome outcome{emitted, matcher.stopped() ? matcher.matched_stop() : ""};
    ASSERT_EQ(outcome, brute_force(text, stops)) << text;
    num_stopped += matcher.stopped();
  }
  EXPECT_GT(num_stopped, 5000);
  EXPECT_LT(num_stopped, 19000);
}

TEST(StopMatcherTest, HoldsBackOnlyWhatMayBeginAStop) {
  StopMatcher matcher({"</end>"});
  EXPECT_EQ(matcher.feed("text</e"), "text");
  EXPECT_EQ(matcher.feed("m></"), "</em>");
  EXPECT_EQ(matcher.feed(""), "");
  EXPECT_EQ(matcher.feed("end>more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched_stop(), "</end>");
  EXPECT_EQ(matcher.feed("more"), "");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcherTest, EarliestEndWinsThenTheLongest) {
  StopMatcher earliest({"abcd", "bc"});
  EXPECT_EQ(earliest.feed("xabcd"), "xa");
  EXPECT_EQ(earliest.matched_stop(), "bc");
  StopMatcher longest({"c", "abc", "bc"});
  EXPECT_EQ(longest.feed("xabcd"), "x");
  EXPECT_EQ(longest.matched_stop(), "abc");
}

TEST(StopMatcherTest, FlushReleasesHeldTextAndStartsAfresh) {
  StopMatcher matcher({"\n\n"});
  EXPECT_EQ(matcher.feed("a\n"), "a");
  EXPECT_EQ(matcher.flush(), "\n");
  EXPECT_EQ(matcher.feed("\nb"), "\nb");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcherTest, WithoutStopsEverythingPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.feed("anything"), "anything");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcherTest, EmitsWholeCharacters) {
  StopMatcher matcher({"\u00e9\u00e9!"});  // ends of "é" and beginnings of "ê" share a byte
  EXPECT_EQ(matcher.feed("\u00e9\u00ea"), "\u00e9\u00ea");
  EXPECT_EQ(matcher.feed("\u00e9"), "");
  EXPECT_EQ(matcher.feed("\u00ea"), "\u00e9\u00ea");
}

}  // namespace
}  // namespace qwin
