// SPDX-License-Identifier: Apache-2.0
#include "chat/reasoning.h"

#include <gtest/gtest.h>

namespace qwin {
namespace {

struct Split {
  std::string reasoning, answer;
  bool operator==(const Split&) const = default;
};

Split split(const std::string& text, size_t piece, bool inside = false) {
  ReasoningSplitter splitter(inside);
  Split all;
  const auto take = [&](const ReasoningDelta& delta) {
    all.reasoning += delta.reasoning;
    all.answer += delta.answer;
  };
  for (size_t i = 0; i < text.size(); i += piece) take(splitter.feed(text.substr(i, piece)));
  take(splitter.finish());
  return all;
}

TEST(ReasoningTest, SplitsAtEveryPieceSizeAlike) {
  for (size_t piece = 1; piece < 40; ++piece) {
    EXPECT_EQ(split("<think>\nhm, a < b\n</think>\n\nFour.\n", piece), (Split{"hm, a < b", "Four.\n"})) << piece;
    EXPECT_EQ(split("\n <think></think>x</think>", piece), (Split{"", "x</think>"})) << piece;
    EXPECT_EQ(split("a\n\nb\n</think>\n\nc", piece, true), (Split{"a\n\nb", "c"})) << piece;
    EXPECT_EQ(split("plain <think>not</think>", piece), (Split{"", "plain <think>not</think>"})) << piece;
    EXPECT_EQ(split("<think>unclosed </thi", piece), (Split{"unclosed </thi", ""})) << piece;
    EXPECT_EQ(split("<thin", piece), (Split{"", "<thin"})) << piece;
    EXPECT_EQ(split("", piece), (Split{"", ""})) << piece;
  }
}

TEST(ReasoningTest, GivesTextAsSoonAsItIsCertain) {
  ReasoningSplitter splitter;
  EXPECT_EQ(splitter.feed("<think>one ").reasoning, "one ");
  EXPECT_EQ(splitter.feed("two <").reasoning, "two ");
  EXPECT_EQ(splitter.feed("three").reasoning, "<three");
  EXPECT_TRUE(splitter.inside());
  EXPECT_EQ(splitter.feed("</think>\n\nyes").answer, "yes");
  EXPECT_FALSE(splitter.inside());
}

TEST(ReasoningTest, KnowsPromptsThatOpenTheTag) {
  EXPECT_TRUE(ReasoningSplitter::prompt_opens("<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(ReasoningSplitter::prompt_opens("<think>\n\n</think>\n\n"));
  EXPECT_FALSE(ReasoningSplitter::prompt_opens(""));
}

}  // namespace
}  // namespace qwin
