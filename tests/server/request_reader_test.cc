// SPDX-License-Identifier: Apache-2.0
#include "server/request_reader.h"

#include <gtest/gtest.h>

#include "server/http_error.h"

namespace qwin::server {
namespace {

using Need = RequestReader::Need;
constexpr const char* kHost = "Host: localhost\r\n";

// Reads `bytes` in pieces; the status of the refusal, 0 when a whole request was read, 1 when more is needed.
int read_all(const std::string& bytes, size_t piece, HttpRequest* request = nullptr, const Limits& limits = {}) {
  RequestReader reader(limits);
  std::string input;
  try {
    for (size_t at = 0; at < bytes.size(); at += piece) {
      input += bytes.substr(at, piece);
      Need need = reader.feed(input);
      if (need == Need::body) need = reader.feed(input);
      if (need == Need::nothing) {
        if (request) *request = reader.request();
        return 0;
      }
    }
  } catch (const HttpError& error) {
    return error.status();
  }
  return 1;
}

int status_of(const std::string& bytes, const Limits& limits = {}) {
  const int whole = read_all(bytes, bytes.size(), nullptr, limits);
  EXPECT_EQ(read_all(bytes, 1, nullptr, limits), whole) << bytes.substr(0, 200);
  EXPECT_EQ(read_all(bytes, 7, nullptr, limits), whole) << bytes.substr(0, 200);
  return whole;
}

std::string chunked(const std::string& chunks) {
  return std::string("POST / HTTP/1.1\r\n") + kHost + "Transfer-Encoding: chunked\r\n\r\n" + chunks;
}

TEST(RequestReaderTest, ReadsARequestHoweverItIsCut) {
  const std::string bytes =
      std::string("\r\nPOST /a%20b?x=1%26&y=+z HTTP/1.1\r\n") + kHost + "Content-Length: 5\r\n\r\nhello";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    HttpRequest request;
    ASSERT_EQ(read_all(bytes, piece, &request), 0) << piece;
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/a b");
    EXPECT_EQ(request.query, (std::vector<NameValue>{{"x", "1&"}, {"y", " z"}}));
    EXPECT_EQ(request.body, "hello");
    EXPECT_TRUE(request.keep_alive);
  }
}

TEST(RequestReaderTest, LeavesTheNextRequestInTheInput) {
  const Limits limits;
  RequestReader reader(limits);
  std::string input = std::string("GET / HTTP/1.1\r\n") + kHost + "\r\nGET /next";
  EXPECT_EQ(reader.feed(input), Need::nothing);
  EXPECT_EQ(input, "GET /next");
}

TEST(RequestReaderTest, ReadsChunks) {
  HttpRequest request;
  ASSERT_EQ(read_all(chunked("5\r\nhello\r\n3;ext=1\r\n wo\r\n0\r\n\r\n"), 1, &request), 0);
  EXPECT_EQ(request.body, "hello wo");
  std::string tiny;
  for (int i = 0; i < 3000; ++i) tiny += "1\r\nx\r\n";
  ASSERT_EQ(read_all(chunked(tiny + "0\r\n\r\n"), 4096, &request), 0);
  EXPECT_EQ(request.body, std::string(3000, 'x'));
}

TEST(RequestReaderTest, RefusesMalformedChunks) {
  for (const char* bad :
       {"-2\r\nxx\r\n", "0x5\r\nhello\r\n", "g\r\n", "\r\n", "5hello\r\n", "5\r\nhelloX\r\n0\r\n\r\n"}) {
    EXPECT_EQ(read_all(chunked(bad), 4096), 400) << bad;
  }
  EXPECT_EQ(read_all(chunked("ffffffffffffffff\r\n"), 4096), 413);
  EXPECT_EQ(read_all(chunked("fffffffffffffffff\r\n"), 4096), 400);
  EXPECT_EQ(read_all(chunked("1;" + std::string(1 << 20, 'x')), 4096), 400);
  EXPECT_EQ(read_all(chunked("0\r\n" + std::string("A: ") + std::string(1 << 20, 'x')), 4096), 400);
}

TEST(RequestReaderTest, RefusesAmbiguousLengths) {
  const auto with = [](const std::string& fields) {
    return std::string("POST / HTTP/1.1\r\n") + kHost + fields + "\r\n";
  };
  for (const char* fields : {"Content-Length: 5\r\nContent-Length: 5\r\n",
                             "Content-Length: 5\r\nContent-Length: 6\r\n",
                             "Content-Length: 5, 5\r\n",
                             "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                             "Transfer-Encoding: gzip\r\n",
                             "Transfer-Encoding: chunked, gzip\r\n",
                             "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                             "Content-Length : 5\r\n",
                             "Content-Length: -1\r\n",
                             "Content-Length: +5\r\n",
                             "Content-Length: 5x\r\n",
                             "Content-Length: 99999999999999999999\r\n",
                             "Content-Length:\r\n",
                             "X: a\r\n b\r\n",
                             "X: a\r\n\tb\r\n",
                             "X: a\nY: b\r\n",
                             "X: a\rY: b\r\n",
                             "NoColon\r\n",
                             ": empty\r\n",
                             "Host: again\r\n"}) {
    EXPECT_EQ(status_of(with(fields)), 400) << fields;
  }
  EXPECT_EQ(status_of(std::string("POST / HTTP/1.0\r\n") + kHost + "Transfer-Encoding: chunked\r\n\r\n"), 400);
}

TEST(RequestReaderTest, RefusesMalformedHeads) {
  for (const std::string& bytes :
       {std::string("GET /\r\n\r\n"), std::string("GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 30), std::string("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
        std::string("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"), std::string("GET /% HTTP/1.1\r\nHost: a\r\n\r\n"),
        std::string("GET nopath HTTP/1.1\r\nHost: a\r\n\r\n"), std::string("GET / HTTP/1.1\nHost: a\n\n"),
        std::string("\x16\x03\x01\x02\n\r\n\r\n"), std::string("GET http://x/ HTTP/1.1\r\nHost: a\r\n\r\n")}) {
    EXPECT_EQ(read_all(bytes, bytes.size()), 400) << bytes;
  }
}

TEST(RequestReaderTest, BoundsTheHead) {
  const std::string start = std::string("GET / HTTP/1.1\r\n") + kHost;
  EXPECT_EQ(status_of(start + "X: " + std::string(17 << 10, 'x') + "\r\n\r\n"), 431);
  EXPECT_EQ(read_all(start + "X: " + std::string(1 << 20, 'x'), 4096), 431);
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "A: b\r\n";
  EXPECT_EQ(status_of(start + fields + "\r\n"), 0);
  EXPECT_EQ(status_of(start + fields + "A: b\r\n\r\n"), 431);
  EXPECT_EQ(read_all("GET /" + std::string(64 << 10, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 4096), 414);
  EXPECT_EQ(status_of("GET /" + std::string(8100, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
  EXPECT_EQ(status_of("GET /" + std::string(8192, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n"), 414);
}

TEST(RequestReaderTest, BoundsTheBody) {
  Limits limits;
  limits.body_bytes = 1024;
  const std::string start = std::string("POST / HTTP/1.1\r\n") + kHost;
  EXPECT_EQ(status_of(start + "Content-Length: 1025\r\n\r\n", limits), 413);
  EXPECT_EQ(status_of(start + "Content-Length: 1024\r\n\r\n" + std::string(1024, 'x'), limits), 0);
  EXPECT_EQ(read_all(chunked("200\r\n" + std::string(512, 'x') + "\r\n201\r\n"), 4096, nullptr, limits), 413);
}

}  // namespace
}  // namespace qwin::server
