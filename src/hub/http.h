// SPDX-License-Identifier: Apache-2.0
// A thin layer over libcurl: handles that free themselves, response headers, one blocking GET.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "hub/fetch.h"

namespace qwin {

struct CurlDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlEasy = std::unique_ptr<CURL, CurlDeleter>;
using CurlList = std::unique_ptr<curl_slist, CurlDeleter>;

// The headers of the last response of a redirect chain.
class HttpHeaders {
 public:
  // Takes one raw line; a status line forgets the response before it.
  void add_line(std::string_view line);
  int status() const { return status_; }
  // Empty when absent. Requires: `name` in lower case.
  const std::string& get(const std::string& name) const;
  std::optional<uint64_t> content_length() const;
  int retry_after() const;  // seconds, at most 60; 0 when absent or no number

 private:
  int status_ = 0;
  std::map<std::string, std::string> fields_;
};

struct ContentRange {
  uint64_t first = 0, last = 0;
  uint64_t total = 0;  // UINT64_MAX when the server wrote '*'
};
// Parses "bytes 0-99/1000".
std::optional<ContentRange> parse_content_range(std::string_view text);
std::optional<uint64_t> parse_decimal(std::string_view text);

// A handle for `url` with every timeout, the allowed protocols and `headers` set. `token` is sent to the host of `url`
// alone: libcurl drops it when a redirect leads to another host, port or scheme.
CurlEasy make_request(const std::string& url, const std::string& token, const FetchOptions& options);

struct HttpResponse {
  CURLcode code = CURLE_OK;
  std::string failure;  // text of a failed transfer
  HttpHeaders headers;
  std::string body;
  bool body_cut = false;  // there was more than `max_body`
};
// `range` is empty or "0-99". Never throws for what the server does; Error(cancelled) on Ctrl-C.
HttpResponse http_get(const std::string& url, const std::string& token, const std::string& range,
                      const FetchOptions& options, size_t max_body);

// True when asking again later may help.
bool is_temporary_status(int status);
// One line for a user: what the status means here and what to do.
std::string explain_status(const HttpHeaders& headers, bool with_token);
// "scheme://host:port/…" without query or credentials, for messages.
std::string printable_url(const std::string& url);

}  // namespace qwin
