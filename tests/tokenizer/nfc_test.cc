// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/nfc.h"

#include "tokenizer_test_support.h"

namespace qwin {
namespace {

Json golden() { return parse_json(testing::read_testdata("unicode.json"), "unicode.json", ErrorCode::io); }

TEST(NfcTest, EveryCodePointIsNormalizedAsHuggingFaceDoes) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (uint32_t c = 0; c <= unicode::kMaxCodePoint; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    unicode::append_utf8(text, c);
    const std::string normalized = to_nfc(text);
    ASSERT_TRUE(normalized == text || !is_surely_nfc(text)) << c;
    for (const char byte : normalized) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
  }
  char hex[17];
  std::snprintf(hex, sizeof(hex), "%016llx", static_cast<unsigned long long>(hash));
  EXPECT_EQ(golden()["nfc"], hex);
}

TEST(NfcTest, SequencesAreNormalizedAsHuggingFaceDoes) {
  const Json sequences = golden()["sequences"];
  ASSERT_GT(sequences.size(), 1000u);
  for (const Json& row : sequences) {
    const auto text = row[0].get<std::string>(), want = row[1].get<std::string>();
    ASSERT_EQ(to_nfc(text), want);
    // Borders to other text and the eight-byte steps of the quick check change nothing.
    ASSERT_EQ(to_nfc("0123456<" + text + ">abcdefgh"), "0123456" + to_nfc("<" + text + ">") + "abcdefgh");
    ASSERT_TRUE(text == want || !is_surely_nfc(text));
  }
}

TEST(NfcTest, OldDataLeavesNewMarksInPlace) {
  // U+07FD is a combining mark since Unicode 11 and would move behind U+0316.
  EXPECT_EQ(to_nfc("a\u07FD\u0316"), "a\u07FD\u0316");
  EXPECT_EQ(to_nfc("a\u0301\u0316"), "\u00E1\u0316");
}

TEST(NfcTest, KeepsBytesThatAreNoUtf8) {
  EXPECT_EQ(to_nfc("\xFF"
                   "e\u0301\xE4\xBD"),
            "\xFF"
            "é\xE4\xBD");
  EXPECT_EQ(to_nfc("\xFF\u0301"), "\xFF\u0301");
  EXPECT_EQ(to_nfc("e\xCC"), "e\xCC");
}

TEST(NfcTest, OrdinaryTextIsSurelyNormal) {
  EXPECT_TRUE(is_surely_nfc(""));
  EXPECT_TRUE(is_surely_nfc("plain ASCII that is longer than eight bytes"));
  EXPECT_TRUE(is_surely_nfc("Größe, 中文，日本語。한국어 😀"));
  EXPECT_FALSE(is_surely_nfc("0123456789abcdef e\u0301"));
}

}  // namespace
}  // namespace qwin
