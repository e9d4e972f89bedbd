// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/detokenizer.h"

#include <random>

#include "tokenizer_test_support.h"

namespace qwin {
namespace {

using testing::GgufVocabulary;

TEST(DetokenizerTest, NeverEmitsHalfACharacter) {
  Detokenizer detokenizer(GgufVocabulary().load());  // an id a byte
  EXPECT_EQ(detokenizer.push(0xF0), "");
  EXPECT_EQ(detokenizer.push(0x9F), "");
  EXPECT_EQ(detokenizer.push(0x98), "");
  EXPECT_EQ(detokenizer.push(0x80), "😀");
  EXPECT_EQ(detokenizer.push('a'), "a");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(DetokenizerTest, ReplacesWhatCannotBecomeACharacter) {
  Detokenizer detokenizer(GgufVocabulary().load());
  EXPECT_EQ(detokenizer.push(0xE4), "");
  EXPECT_EQ(detokenizer.push(0xBD), "");
  EXPECT_EQ(detokenizer.push('x'), "\uFFFDx");
  EXPECT_EQ(detokenizer.push(0xFF), "\uFFFD");
  EXPECT_EQ(detokenizer.push(0xC3), "");
  EXPECT_EQ(detokenizer.flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.push(0xA9), "\uFFFD");
}

TEST(DetokenizerTest, SpecialTokensHaveNoTextEvenWithinACharacter) {
  GgufVocabulary vocabulary;
  const int32_t end = vocabulary.add("<|im_end|>", GgufVocabulary::kControl);
  const int32_t tool = vocabulary.add("<tool_call>", GgufVocabulary::kAdded);
  Detokenizer detokenizer(vocabulary.load());
  EXPECT_EQ(detokenizer.push(0xC3), "");
  EXPECT_EQ(detokenizer.push(end), "");
  EXPECT_EQ(detokenizer.push(0xA9), "é");
  EXPECT_EQ(detokenizer.push(tool), "<tool_call>");
  EXPECT_EQ(detokenizer.push(100'000), "");
}

TEST(DetokenizerTest, PiecesTogetherAreTheDecodedWhole) {
  const auto tokenizer = testing::load_gguf_testdata();
  std::mt19937 random(7);
  for (int run = 0; run < 10'000; ++run) {
    std::vector<int32_t> ids(1 + random() % 24);
    // Half of the runs from the single bytes, where characters break most.
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % (run % 2 == 0 ? 256 : tokenizer->num_ids() + 2));
    Detokenizer detokenizer(tokenizer);
    std::string joined;
    for (const int32_t id : ids) {
      const std::string piece = detokenizer.push(id);
      ASSERT_TRUE(unicode::is_valid_utf8(piece));
      joined += piece;
    }
    joined += detokenizer.flush();
    ASSERT_EQ(joined, tokenizer->decode(ids, true));
  }
}

}  // namespace
}  // namespace qwin
