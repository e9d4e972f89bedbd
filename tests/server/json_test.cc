// SPDX-License-Identifier: Apache-2.0
#include "server/json.h"

#include <gtest/gtest.h>

#include "server/http_error.h"

namespace qwin::server {
namespace {

std::string code_of(const std::string& text, int64_t depth = 64) {
  try {
    parse_body(text, depth);
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status(), 400);
    return error.code();
  }
  return "";
}

TEST(JsonTest, KeepsTheOrderOfKeys) {
  EXPECT_EQ(parse_body(R"({"b":1,"a":[2.5,null]})", 64).dump(), R"({"b":1,"a":[2.5,null]})");
}

TEST(JsonTest, RefusesWhatIsNoJson) {
  for (const char* bad :
       {"", "{", "{\"a\":}", "nul", "[1,]", "{'a':1}", "1 2", "NaN", "\"\xff\"", "\"\\ud800\"", "{\"a\":1,\"a\":2}"}) {
    EXPECT_EQ(code_of(bad), "invalid_request_error") << bad;
  }
}

TEST(JsonTest, BoundsTheDepthWithoutRecursion) {
  EXPECT_EQ(code_of(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_EQ(code_of(std::string(65, '[') + std::string(65, ']')), "json_too_deep");
  EXPECT_EQ(code_of(std::string(1 << 20, '[')), "json_too_deep");
}

TEST(JsonTest, ReadsManyKeysInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(parse_body(text + "}", 64).size(), 200000u);
}

TEST(JsonTest, EscapesStringsAsAParserReadsThem) {
  std::string all;
  for (int c = 1; c < 128; ++c) all += static_cast<char>(c);
  all += "häß\u2028🙂";
  std::string out;
  append_json_string(out, all);
  EXPECT_EQ(Json::parse(out), all);
}

TEST(JsonTest, CutsBetweenCharacters) {
  EXPECT_EQ(cut_utf8("aé", 2), "a");
  EXPECT_EQ(cut_utf8("aé", 3), "aé");
  EXPECT_EQ(cut_utf8("🙂", 3), "");
}

TEST(HttpErrorTest, StaysBelowAKilobyte) {
  const HttpError error = HttpError::bad_request(std::string(5000, '\x01') + "\xff", std::string(5000, 'p'));
  EXPECT_LE(error.json().size(), 1024u);
  EXPECT_EQ(Json::parse(error.json())["error"]["code"], "invalid_request_error");
}

TEST(HttpErrorTest, AsksForAWaitOfOneToSixtySeconds) {
  EXPECT_EQ(HttpError::try_later(429, "queue_full", "", 0).retry_after(), 1);
  EXPECT_EQ(HttpError::try_later(429, "queue_full", "", 2.1).retry_after(), 3);
  EXPECT_EQ(HttpError::try_later(429, "queue_full", "", 1e9).retry_after(), 60);
}

}  // namespace
}  // namespace qwin::server
