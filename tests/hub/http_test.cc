// SPDX-License-Identifier: Apache-2.0
#include "hub/http.h"

#include <gtest/gtest.h>

namespace qwin {
namespace {

TEST(ContentRangeTest, ReadsWhatServersSend) {
  const auto range = parse_content_range("bytes 5-9/100");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5u);
  EXPECT_EQ(range->last, 9u);
  EXPECT_EQ(range->total, 100u);
  EXPECT_EQ(parse_content_range("bytes 0-0/*")->total, UINT64_MAX);
}

TEST(ContentRangeTest, RefusesNonsense) {
  for (const char* text : {"", "bytes", "bytes 5-4/100", "bytes 5-100/100", "bytes */100", "5-9/100", "bytes 5-9",
                           "bytes -5-9/100", "bytes 5-9/x", "bytes 5/9-100", "bytes 99999999999999999999-1/2"}) {
    EXPECT_FALSE(parse_content_range(text)) << text;
  }
}

TEST(HttpHeadersTest, KeepsTheLastResponseOnly) {
  HttpHeaders headers;
  for (const char* line : {"HTTP/1.1 302 Found\r\n", "ETag: \"a\"\r\n", "Location: /x\r\n", "\r\n",
                           "HTTP/1.1 206 Partial\r\n", "content-LENGTH:  12 \r\n", "Retry-After: 9999\r\n"}) {
    headers.add_line(line);
  }
  EXPECT_EQ(headers.status(), 206);
  EXPECT_EQ(headers.get("etag"), "");
  EXPECT_EQ(headers.content_length(), 12u);
  EXPECT_EQ(headers.retry_after(), 60);
}

TEST(HttpHeadersTest, OddNumbersAreNoNumbers) {
  HttpHeaders headers;
  for (const char* line : {"HTTP/1.1\r\n", "Content-Length: 12x\r\n", "Retry-After: -3\r\n", "no colon here\r\n"}) {
    headers.add_line(line);
  }
  EXPECT_EQ(headers.status(), 0);
  EXPECT_FALSE(headers.content_length());
  EXPECT_EQ(headers.retry_after(), 0);
}

TEST(PrintableUrlTest, HidesCredentialsAndSignatures) {
  EXPECT_EQ(printable_url("https://user:secret@host:1/a/b?X-Signature=1#f"), "https://host:1/a/b");
  EXPECT_EQ(printable_url("https://host/a@b/c"), "https://host/a@b/c");
  EXPECT_EQ(printable_url("http://host/\x1b[31m"), "http://host/?[31m");
}

TEST(ExplainStatusTest, TellsWhatToDo) {
  HttpHeaders headers;
  headers.add_line("HTTP/1.1 403 Forbidden\r\n");
  headers.add_line("X-Error-Message: gated\x1b!\r\n");
  const std::string text = explain_status(headers, false);
  EXPECT_NE(text.find("HTTP 403 (gated?!)"), std::string::npos);
  EXPECT_NE(text.find("accept its licence"), std::string::npos);
  EXPECT_NE(text.find("HF_TOKEN"), std::string::npos);
}

}  // namespace
}  // namespace qwin
