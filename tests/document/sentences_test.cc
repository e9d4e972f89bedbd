// SPDX-License-Identifier: Apache-2.0
#include "document/sentences.h"

#include <gtest/gtest.h>

#include <string>

namespace qwin {
namespace {

std::vector<std::string> sentences(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (const size_t end : sentence_ends(text)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return parts;
}

using Parts = std::vector<std::string>;

TEST(SentencesTest, EndWithTheirMarkAndTheSpaceBehindIt) {
  EXPECT_EQ(sentences("One. Two! Three? Four"), (Parts{"One. ", "Two! ", "Three? ", "Four"}));
  EXPECT_EQ(sentences("He said \"No.\" Then he left."), (Parts{"He said \"No.\" ", "Then he left."}));
  EXPECT_EQ(sentences(""), Parts{});
}

TEST(SentencesTest, KnowAbbreviationsInitialsAndNumbers) {
  for (const char* whole :
       {"See Fig. 3 and Dr. Smith.", "About 3.5 m, e.g. here.", "By J. Doe of Acme Inc. today.", "2. The second item",
        "Version 1.2.3 is out", "It ended at 5 p.m. or so", "www.example.org stays"}) {
    EXPECT_EQ(sentences(whole), Parts{whole});
  }
}

TEST(SentencesTest, OfChineseNeedNoSpace) {
  EXPECT_EQ(sentences("你好。他说：“走吧！”然后走了？是的"), (Parts{"你好。", "他说：“走吧！”", "然后走了？", "是的"}));
  EXPECT_EQ(sentences("怎么会这样？！不知道……算了"), (Parts{"怎么会这样？！", "不知道……", "算了"}));
  EXPECT_EQ(sentences("Good!好"), (Parts{"Good!", "好"}));
}

TEST(SentencesTest, EndWithParagraphsButNotWithLines) {
  EXPECT_EQ(sentences("a line\nbroken for its length\n\nnext paragraph"),
            (Parts{"a line\nbroken for its length\n\n", "next paragraph"}));
  EXPECT_EQ(sentences("First sentence.\r\nsecond line. Third"), (Parts{"First sentence.\r\nsecond line. ", "Third"}));
}

TEST(SentencesTest, EndBeforeHeadingsAndItems) {
  EXPECT_EQ(sentences("# Title\ntext\n- one\n- two\n1. three"),
            (Parts{"# Title\n", "text\n", "- one\n", "- two\n", "1. three"}));
  EXPECT_EQ(sentences("甲方与乙方约定如下\n第一条 租金\n租金为四千元"),
            (Parts{"甲方与乙方约定如下\n", "第一条 租金\n租金为四千元"}));
}

TEST(SentencesTest, CoverBytesThatAreNoUtf8) {
  const std::string text = "a\xff. \xe4\xb8 b。\xc3";
  ASSERT_FALSE(sentence_ends(text).empty());
  EXPECT_EQ(sentence_ends(text).back(), text.size());
}

TEST(SentencesTest, TellChineseFromEnglish) {
  EXPECT_TRUE(is_mostly_chinese("本合同由甲方 ACME Ltd 与乙方订立，自签字之日起生效。"));
  EXPECT_FALSE(is_mostly_chinese("The character 龙 means dragon."));
  EXPECT_FALSE(is_mostly_chinese(""));
}

}  // namespace
}  // namespace qwin
