// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/unicode.h"

#include "tokenizer_test_support.h"

namespace qwin {
namespace {

uint64_t fnv1a(uint64_t hash, uint8_t byte) { return (hash ^ byte) * 0x100000001B3u; }

TEST(UnicodeTest, EveryCodePointHasTheClassOfHuggingFace) {
  const Json golden = parse_json(testing::read_testdata("unicode.json"), "unicode.json", ErrorCode::io);
  uint64_t hash = 0xCBF29CE484222325u;
  for (uint32_t c = 0; c <= unicode::kMaxCodePoint; ++c) {
    if (c < 0xD800 || c > 0xDFFF) hash = fnv1a(hash, unicode::properties(c) & unicode::kClassMask);
  }
  char hex[17];
  std::snprintf(hex, sizeof(hex), "%016llx", static_cast<unsigned long long>(hash));
  EXPECT_EQ(golden["classes"], hex);
}

TEST(UnicodeTest, DecodesWhatItEncodes) {
  for (uint32_t c = 0; c <= unicode::kMaxCodePoint; c += c < 0x900 || c > 0xD700 ? 1 : 57) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    unicode::append_utf8(text, c);
    const unicode::Decoded decoded = unicode::decode(text, 0);
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.length, text.size());
    ASSERT_TRUE(unicode::is_valid_utf8(text));
    ASSERT_FALSE(c >= 0x80 && unicode::is_valid_utf8(text.substr(0, text.size() - 1)));
  }
}

TEST(UnicodeTest, RefusesIllFormedSequences) {
  for (const std::string bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80",
                                "\xED\xBF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                                "\xF5\x80\x80\x80", "\xFF", "\xE4\xBD", "\xF0\x9F\x98", "\xC3(", "\xE4\xBD("}) {
    EXPECT_FALSE(unicode::is_valid_utf8(bad));
    EXPECT_EQ(unicode::decode(bad, 0).code_point, unicode::kInvalid);
    EXPECT_EQ(unicode::decode(bad, 0).length, 1u);
  }
}

// The expected strings are Python's bytes.decode(errors="replace").
TEST(UnicodeTest, ReplacesMaximalSubparts) {
  const auto replaced = [](std::string_view bytes) {
    std::string out;
    if (unicode::append_replacing_invalid(out, bytes) > 0) out += unicode::kReplacementCharacter;
    return out;
  };
  const std::string r(unicode::kReplacementCharacter);
  EXPECT_EQ(replaced("abc"), "abc");
  EXPECT_EQ(replaced("\xE4\xBD"
                     "a"),
            r + "a");
  EXPECT_EQ(replaced("\xE4\xBD\xE4\xBD\xA0"), r + "你");
  EXPECT_EQ(replaced("\xF0\x9F\x98x\xF0\x9F"), r + "x" + r);
  EXPECT_EQ(replaced("\xE0\x80\x80"), r + r + r);
  EXPECT_EQ(replaced("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(replaced("\xF4\x90\x80\x80"), r + r + r + r);
  EXPECT_EQ(replaced("\xF1\x80\x80\xC3\xA9\xC3"), r + "é" + r);
}

TEST(UnicodeTest, TellsHowManyBytesMayStillBecomeACharacter) {
  std::string out;
  EXPECT_EQ(unicode::append_replacing_invalid(out, "a\xF0\x9F\x98"), 3u);
  EXPECT_EQ(unicode::append_replacing_invalid(out, "b\xE4"), 1u);
  EXPECT_EQ(unicode::append_replacing_invalid(out, "c\xF4\x90"), 0u);
  EXPECT_EQ(out, "abc\uFFFD\uFFFD");
}

}  // namespace
}  // namespace qwin
