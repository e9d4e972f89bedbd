// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

#include <gtest/gtest.h>

#include "io/io_test_support.h"

namespace qwin {
namespace {

using testing::error_of;

std::string error_of_text(const std::string& text) {
  return error_of([&] { parse_json(text, "doc.json", ErrorCode::bad_config); });
}

std::string nested(int depth) { return std::string(depth, '[') + "1" + std::string(depth, ']'); }

TEST(JsonTest, ParsesEveryKindOfValueAndKeepsKeyOrder) {
  const Json document =
      parse_json(R"({"z": [1, -2, 2.5, true, null, "é\n"], "a": {"k": {}}, "m": []})", "x", ErrorCode::bad_config);
  EXPECT_EQ(document.dump(), R"({"z":[1,-2,2.5,true,null,"é\n"],"a":{"k":{}},"m":[]})");
  EXPECT_EQ(document["z"][1].get<int>(), -2);
  EXPECT_EQ(parse_json("7", "x", ErrorCode::bad_config).get<int>(), 7);
}

TEST(JsonTest, AgreesWithTheLibrary) {
  const std::string text =
      R"({"a":[[],[{}],{"b":[1e300,18446744073709551615,-9223372036854775808]}],"c":"\u0000\ud83d\ude00"})";
  EXPECT_EQ(parse_json(text, "x", ErrorCode::bad_config), Json::parse(text));
}

TEST(JsonTest, BoundsTheDepth) {
  EXPECT_EQ(error_of_text(nested(kMaxJsonDepth)), "none");
  EXPECT_EQ(error_of_text(nested(kMaxJsonDepth + 1)), "bad_config");
  EXPECT_EQ(error_of_text(std::string(1000000, '[')), "bad_config");
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  EXPECT_EQ(error_of_text(objects), "bad_config");
}

TEST(JsonTest, RefusesWhatIsNoJson) {
  for (const char* text :
       {"", " ", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "nul", "1 2", "'a'", "NaN", "1e999", "\"\\ud800\"", "\"\n\"",
        "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\xff", "[1]]", "{\"a\":1}}"}) {
    EXPECT_EQ(error_of_text(text), "bad_config") << text;
  }
}

TEST(JsonTest, NamesTheDocumentAndUsesTheClassAskedFor) {
  std::string detail;
  EXPECT_EQ(error_of([] { parse_json("{", "tokenizer.json", ErrorCode::bad_tokenizer); }, &detail), "bad_tokenizer");
  EXPECT_EQ(detail.find("tokenizer.json"), 0u);
}

TEST(JsonTest, RefusesAKeyTwice) {
  EXPECT_EQ(error_of_text(R"({"a":1,"b":{"a":1},"a":2})"), "bad_config");
  EXPECT_EQ(error_of_text(R"({"a":1,"b":{"a":1,"b":2}})"), "none");
}

TEST(JsonTest, BuildsAWideObject) {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  const Json document = parse_json(text + "}", "x", ErrorCode::bad_config);
  EXPECT_EQ(document.size(), 200000u);
  EXPECT_EQ(document["k199999"].get<int>(), 199999);
}

}  // namespace
}  // namespace qwin
