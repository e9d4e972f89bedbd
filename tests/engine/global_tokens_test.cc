// SPDX-License-Identifier: Apache-2.0
#include "engine/global_tokens.h"

#include <gtest/gtest.h>

#include "engine/tiny_models.h"

namespace qwin {
namespace {

using Spans = std::vector<TokenSpan>;

class GlobalTokensTest : public testing::Test {
 protected:
  std::vector<int32_t> chat(const std::string& user) const {
    return tokenizer_->encode(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n" + user + "<|im_end|>\n<|im_start|>assistant\n",
        true);
  }
  std::string text(std::span<const int32_t> prompt, const TokenSpan& span) const {
    return tokenizer_->decode(
        prompt.subspan(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin)));
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::load(open_model_files(tiny_path("qwen2_tied")));
};

TEST_F(GlobalTokensTest, FindTextsWhereverTheyStand) {
  const std::vector<int32_t> prompt = tokenizer_->encode("one key two key three", true);
  const Spans spans = find_global_spans(*tokenizer_, prompt, {.texts = {"key"}});
  ASSERT_EQ(spans.size(), 2u);
  for (const TokenSpan& span : spans) EXPECT_NE(text(prompt, span).find("key"), std::string::npos);
  EXPECT_THROW(find_global_spans(*tokenizer_, prompt, {.texts = {"lock"}}), Error);
}

TEST_F(GlobalTokensTest, FindMessagesOfAChat) {
  const std::vector<int32_t> prompt = chat("Where is it?");
  const Spans system = find_global_spans(*tokenizer_, prompt, {.system = true});
  ASSERT_EQ(system.size(), 1u);
  EXPECT_EQ(system[0].begin, 0);
  EXPECT_NE(text(prompt, system[0]).find("Be brief."), std::string::npos);
  EXPECT_EQ(text(prompt, system[0]).find("Where"), std::string::npos);
  const Spans question = find_global_spans(*tokenizer_, prompt, {.question = true});
  ASSERT_EQ(question.size(), 1u);
  EXPECT_NE(text(prompt, question[0]).find("Where is it?"), std::string::npos);
  EXPECT_EQ(find_global_spans(*tokenizer_, prompt, {.system = true, .question = true}).size(), 1u) << "they touch";
  EXPECT_THROW(find_global_spans(*tokenizer_, chat(std::string(4000, 'x')), {.question = true}), Error);
}

TEST_F(GlobalTokensTest, MergeWhatOverlaps) {
  const std::vector<int32_t> prompt(200, 7);
  EXPECT_EQ(find_global_spans(*tokenizer_, prompt, {.spans = {{50, 60}, {10, 20}, {15, 30}}}),
            (Spans{{10, 30}, {50, 60}}));
  EXPECT_EQ(find_global_spans(*tokenizer_, prompt, {}), Spans{});
}

TEST(GlobalPartsTest, AreThePiecesThatSpansTouch) {
  const Spans spans = {{0, 1}, {15, 17}, {30, 33}, {100, 116}};
  EXPECT_EQ(global_parts(spans), (std::vector<int32_t>{0, 1, 2, 6, 7}));
  EXPECT_EQ(global_parts(Spans{}), std::vector<int32_t>{});
}

}  // namespace
}  // namespace qwin
