// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/pretokenizer.h"

#include <random>

#include "tokenizer_test_support.h"

namespace qwin {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> pieces(std::string_view text) {
  std::vector<std::string> result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = next_piece_end(text, begin);
    result.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return result;
}

TEST(PretokenizerTest, SplitsWordsWithOneCharacterBefore) {
  EXPECT_THAT(pieces("Hello world"), ElementsAre("Hello", " world"));
  EXPECT_THAT(pieces("x  y"), ElementsAre("x", " ", " y"));
  EXPECT_THAT(pieces("(foo.bar)"), ElementsAre("(foo", ".bar", ")"));
  EXPECT_THAT(pieces("\tx\u3000中文"), ElementsAre("\tx", "\u3000中文"));
  EXPECT_THAT(pieces("a\nb"), ElementsAre("a", "\n", "b"));
}

TEST(PretokenizerTest, ContractionsInAnyCase) {
  EXPECT_THAT(pieces("don't"), ElementsAre("don", "'t"));
  EXPECT_THAT(pieces("I'LL we'Ve"), ElementsAre("I", "'LL", " we", "'Ve"));
  EXPECT_THAT(pieces("'\u017Fx"), ElementsAre("'\u017F", "x"));
  EXPECT_THAT(pieces("'lx"), ElementsAre("'lx"));
  EXPECT_THAT(pieces("'r"), ElementsAre("'r"));
  EXPECT_THAT(pieces("'"), ElementsAre("'"));
  EXPECT_THAT(pieces(" 's"), ElementsAre(" '", "s"));
  EXPECT_THAT(pieces("'\xC5"), ElementsAre("'\xC5"));
}

TEST(PretokenizerTest, NumbersStandAlone) {
  EXPECT_THAT(pieces("x12 3"), ElementsAre("x", "1", "2", " ", "3"));
  EXPECT_THAT(pieces("½Ⅷ٣"), ElementsAre("½", "Ⅷ", "٣"));
}

TEST(PretokenizerTest, SymbolsTakeASpaceBeforeAndLineBreaksBehind) {
  EXPECT_THAT(pieces("(x):\n"), ElementsAre("(x", "):\n"));
  EXPECT_THAT(pieces("a -> b"), ElementsAre("a", " ->", " b"));
  EXPECT_THAT(pieces("};\r\n\n  x"), ElementsAre("};\r\n\n", " ", " x"));
  EXPECT_THAT(pieces("!\n !"), ElementsAre("!\n", " !"));
}

TEST(PretokenizerTest, WhiteSpaceEndsAtItsLastLineBreak) {
  EXPECT_THAT(pieces("\n \n  x"), ElementsAre("\n \n", " ", " x"));
  EXPECT_THAT(pieces("   "), ElementsAre("   "));
  EXPECT_THAT(pieces("   1"), ElementsAre("  ", " ", "1"));
  EXPECT_THAT(pieces("  \t!"), ElementsAre("  ", "\t", "!"));
  EXPECT_THAT(pieces(" \n\t"), ElementsAre(" \n", "\t"));
  EXPECT_THAT(pieces("\u0085\u00A0"), ElementsAre("\u0085\u00A0"));
}

TEST(PretokenizerTest, PiecesAreTheTextAndNoneIsEmpty) {
  std::mt19937 random(7);
  const std::string alphabet = "aZ1 \n\r\t'sS!\xC5\xBF\xE4\xB8\xAD\xFF\x80";
  for (int run = 0; run < 20'000; ++run) {
    std::string text(random() % 16, 'a');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    std::string joined;
    for (const std::string& piece : pieces(text)) {
      ASSERT_FALSE(piece.empty());
      joined += piece;
    }
    ASSERT_EQ(joined, text);
  }
}

}  // namespace
}  // namespace qwin
