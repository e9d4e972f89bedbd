// SPDX-License-Identifier: Apache-2.0
// A request as its handler sees it, and a response as a handler makes it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwin::server {

using NameValue = std::pair<std::string, std::string>;

struct HttpRequest {
  std::string method = {};
  std::string path = {};              // percent-decoded, without the query
  std::vector<NameValue> query = {};  // percent-decoded
  std::vector<NameValue> headers = {};
  std::string body = {};
  std::string peer = {};  // the client's address
  int version = 11;       // 10 or 11
  bool keep_alive = true;
  bool has_body = false;

  // The value of the first such header, nullptr without one. Case does not matter.
  const std::string* header(std::string_view name) const;
  size_t count_headers(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::vector<NameValue> headers = {};
};

class HttpError;
// The error's body, with Retry-After and what else its status asks for.
HttpResponse error_response(const HttpError& error);

// "HTTP/1.1 200 OK\r\n" and the header lines all responses have in common.
std::string status_line(int status);

bool equal_ignoring_case(std::string_view a, std::string_view b);

// Decodes %XX, and + as a space in a query. Throws HttpError 400 for a broken escape or a NUL.
enum class UrlPart { path, query };
std::string percent_decode(std::string_view text, UrlPart part);

}  // namespace qwin::server
