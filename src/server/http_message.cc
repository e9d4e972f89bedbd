// SPDX-License-Identifier: Apache-2.0
#include "server/http_message.h"

#include <algorithm>

#include "server/http_error.h"

namespace qwin::server {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

const char* reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    default: return "Internal Server Error";
  }
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

const std::string* HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (equal_ignoring_case(key, name)) return &value;
  }
  return nullptr;
}

size_t HttpRequest::count_headers(std::string_view name) const {
  return static_cast<size_t>(std::count_if(headers.begin(), headers.end(),
                                           [&](const NameValue& h) { return equal_ignoring_case(h.first, name); }));
}

HttpResponse error_response(const HttpError& error) {
  HttpResponse response{.status = error.status(), .body = error.json(), .headers = error.headers()};
  if (error.retry_after() > 0) response.headers.emplace_back("Retry-After", std::to_string(error.retry_after()));
  if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::string status_line(int status) { return "HTTP/1.1 " + std::to_string(status) + " " + reason(status) + "\r\n"; }

std::string percent_decode(std::string_view text, UrlPart part) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && part == UrlPart::query) c = ' ';
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) throw HttpError::bad_request("the URL has a broken % escape");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') throw HttpError::bad_request("the URL has a NUL");
    decoded += c;
  }
  return decoded;
}

}  // namespace qwin::server
