// SPDX-License-Identifier: Apache-2.0
#include "server/request_reader.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <charconv>

#include "server/http_error.h"

namespace qwin::server {

namespace http = boost::beast::http;

namespace {

[[noreturn]] void refuse_syntax(const std::string& what) { throw HttpError::bad_request("malformed HTTP: " + what); }

// What Beast's parser would let through: lines that end in a bare CR or LF, folded headers, NUL.
void check_head_bytes(std::string_view head, size_t from) {
  for (size_t i = from; i < head.size(); ++i) {
    const char c = head[i];
    if (c == '\0') refuse_syntax("NUL in the head");
    if (c == '\n' && (i == 0 || head[i - 1] != '\r')) refuse_syntax("a line ends in a bare LF");
    if (c == '\r' && i + 1 < head.size() && head[i + 1] != '\n') refuse_syntax("a bare CR in the head");
    if (c == '\n' && i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t')) {
      refuse_syntax("a folded header line");
    }
  }
}

void split_query(std::string_view query, std::vector<NameValue>& out) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    out.emplace_back(percent_decode(pair.substr(0, equals), UrlPart::query),
                     percent_decode(pair.substr(std::min(pair.size(), equals + 1)), UrlPart::query));
  }
}

}  // namespace

RequestReader::Need RequestReader::feed(std::string& input) {
  if (head_done_) return feed_body(input);
  if (!take_head(input)) return Need::head;
  head_done_ = true;
  return request_.has_body ? Need::body : Need::nothing;
}

bool RequestReader::take_head(std::string& input) {
  while (input.starts_with("\r\n")) {  // empty lines before a request are let pass (RFC 9112, 2.2)
    input.erase(0, 2);
    scanned_ = 0;
  }
  const auto max_bytes = static_cast<size_t>(limits_.header_bytes);
  const size_t end = input.find("\r\n\r\n", scanned_ > 3 ? scanned_ - 3 : 0);
  const std::string_view head = std::string_view(input).substr(0, end == std::string::npos ? input.size() : end + 4);
  const size_t first_line = std::min(head.find("\r\n"), head.size());
  if (first_line > static_cast<size_t>(limits_.target_bytes) + 32) {
    throw HttpError(414, "uri_too_long", "the URL is longer than allowed");
  }
  if (head.size() > max_bytes) throw HttpError(431, "headers_too_large", "the header is larger than allowed");
  check_head_bytes(head, scanned_ > 1 ? scanned_ - 2 : 0);
  scanned_ = head.size();
  if (end == std::string::npos) return false;
  parse_head(head);
  input.erase(0, end + 4);
  return true;
}

void RequestReader::parse_head(std::string_view head) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<uint32_t>(head.size() + 1));  // bounded above
  parser.body_limit(boost::none);
  parser.skip(true);
  parser.eager(true);
  boost::system::error_code error;
  const size_t used = parser.put(boost::asio::buffer(head.data(), head.size()), error);
  if (error) refuse_syntax(error.message());
  if (used != head.size() || !parser.is_done()) refuse_syntax("the head");

  const auto& message = parser.get();
  for (const auto& field : message) request_.headers.emplace_back(field.name_string(), field.value());
  if (request_.headers.size() > static_cast<size_t>(limits_.header_count)) {
    throw HttpError(431, "headers_too_large", "the request has more header fields than allowed");
  }
  request_.method = std::string(message.method_string());
  request_.version = static_cast<int>(message.version());
  request_.keep_alive = message.keep_alive();
  if (request_.count_headers("Host") > 1) refuse_syntax("Host is there twice");
  if (request_.version == 11 && !request_.header("Host")) refuse_syntax("Host is missing");
  read_framing();
  read_target(std::string_view(message.target().data(), message.target().size()));
}

// One way to tell the length of a body, or none (RFC 9112, 6): what could be read in two ways is refused.
void RequestReader::read_framing() {
  const std::string* coding = request_.header("Transfer-Encoding");
  const std::string* length = request_.header("Content-Length");
  if (request_.count_headers("Transfer-Encoding") + request_.count_headers("Content-Length") > 1) {
    refuse_syntax("the length of the body is told twice");
  }
  if (coding) {
    if (request_.version != 11 || !equal_ignoring_case(*coding, "chunked")) refuse_syntax("Transfer-Encoding");
    chunks_.emplace(limits_.body_bytes);
  }
  if (length) {
    const auto [end, fault] = std::from_chars(length->data(), length->data() + length->size(), length_);
    const bool digits = length->find_first_not_of("0123456789") == std::string::npos && !length->empty();
    if (!digits || fault != std::errc() || end != length->data() + length->size()) refuse_syntax("Content-Length");
    if (length_ > limits_.body_bytes) throw HttpError(413, "payload_too_large", "the body is larger than allowed");
  }
  request_.has_body = chunks_ || length_ > 0;
}

void RequestReader::read_target(std::string_view target) {
  if (target.size() > static_cast<size_t>(limits_.target_bytes)) {
    throw HttpError(414, "uri_too_long", "the URL is longer than allowed");
  }
  if (target != "*" && !target.starts_with('/')) refuse_syntax("the target must begin with /");
  target = target.substr(0, target.find('#'));
  const size_t mark = std::min(target.find('?'), target.size());
  request_.path = percent_decode(target.substr(0, mark), UrlPart::path);
  split_query(target.substr(std::min(target.size(), mark + 1)), request_.query);
}

RequestReader::Need RequestReader::feed_body(std::string& input) {
  size_t used = 0;
  if (chunks_) {
    used = chunks_->feed(input, request_.body);
  } else {
    used = std::min(input.size(), static_cast<size_t>(length_) - request_.body.size());
    request_.body.append(input, 0, used);
  }
  body_bytes_read_ += static_cast<int64_t>(used);
  input.erase(0, used);
  const bool done = chunks_ ? chunks_->done() : static_cast<int64_t>(request_.body.size()) == length_;
  return done ? Need::nothing : Need::body;
}

bool RequestReader::expects_continue() const {
  const std::string* expect = request_.header("Expect");
  return expect && request_.version == 11 && equal_ignoring_case(*expect, "100-continue");
}

}  // namespace qwin::server
