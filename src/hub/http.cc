// SPDX-License-Identifier: Apache-2.0
#include "hub/http.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "core/printable.h"
#include "hub/interrupt.h"
#include "hub/known_models.h"
#include "qwin/error.h"
#include "qwin/version.h"

// Since 7.83 libcurl keeps an Authorization header from other ports and schemes, not from other hosts only.
#if LIBCURL_VERSION_NUM < 0x075500
#error "libcurl 7.85 or later is needed"
#endif

namespace qwin {
namespace {

constexpr size_t kMaxHeaderFields = 100;

struct CurlGlobal {
  CurlGlobal() { curl_global_init(CURL_GLOBAL_DEFAULT); }
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ') text.remove_prefix(1);
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  return text;
}

size_t on_header(char* data, size_t, size_t size, void* response) {
  static_cast<HttpResponse*>(response)->headers.add_line({data, size});
  return size;
}

struct BodySink {
  HttpResponse* response;
  size_t limit;
};

size_t on_body(char* data, size_t, size_t size, void* pointer) {
  const BodySink& sink = *static_cast<BodySink*>(pointer);
  std::string& body = sink.response->body;
  const size_t taken = std::min(size, sink.limit - body.size());
  body.append(data, taken);
  sink.response->body_cut = taken < size;
  return taken;
}

int on_progress(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return is_interrupted() ? 1 : 0; }

}  // namespace

void HttpHeaders::add_line(std::string_view line) {
  if (line.starts_with("HTTP/")) {
    fields_.clear();
    const size_t space = line.find(' ');
    const auto status = space == std::string_view::npos ? std::nullopt : parse_decimal(line.substr(space + 1, 3));
    status_ = status ? static_cast<int>(*status) : 0;
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || fields_.size() >= kMaxHeaderFields) return;
  fields_[ascii_lower(trim(line.substr(0, colon)))] = trim(line.substr(colon + 1));
}

const std::string& HttpHeaders::get(const std::string& name) const {
  static const std::string absent;
  const auto found = fields_.find(name);
  return found == fields_.end() ? absent : found->second;
}

std::optional<uint64_t> HttpHeaders::content_length() const { return parse_decimal(get("content-length")); }

int HttpHeaders::retry_after() const {
  const auto seconds = parse_decimal(get("retry-after"));
  return seconds ? static_cast<int>(std::min<uint64_t>(*seconds, 60)) : 0;
}

std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<ContentRange> parse_content_range(std::string_view text) {
  const size_t dash = text.find('-'), slash = text.find('/');
  if (!text.starts_with("bytes ") || dash == std::string_view::npos || slash == std::string_view::npos ||
      slash < dash) {
    return std::nullopt;
  }
  const auto first = parse_decimal(trim(text.substr(6, dash - 6)));
  const auto last = parse_decimal(trim(text.substr(dash + 1, slash - dash - 1)));
  const std::string_view total_text = trim(text.substr(slash + 1));
  const auto total = total_text == "*" ? std::optional<uint64_t>(UINT64_MAX) : parse_decimal(total_text);
  if (!first || !last || !total || *first > *last || *last >= *total) return std::nullopt;
  return ContentRange{*first, *last, *total};
}

CurlEasy make_request(const std::string& url, const std::string& token, const FetchOptions& options) {
  static const CurlGlobal global;
  CurlEasy easy(curl_easy_init());
  if (!easy) throw std::bad_alloc();
  CURL* handle = easy.get();
  const bool secure = url.starts_with("https://");
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_USERAGENT, (std::string("qwin/") + kVersion).c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, 8L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  // One connection a segment: several streams in one TCP connection would share its window.
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options.connect_timeout));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1024L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout));
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L * 1024);
  if (!token.empty()) {
    curl_easy_setopt(handle, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    curl_easy_setopt(handle, CURLOPT_XOAUTH2_BEARER, token.c_str());
  }
  if (const char* certificates = std::getenv("SSL_CERT_FILE"); certificates && *certificates) {
    curl_easy_setopt(handle, CURLOPT_CAINFO, certificates);
  }
  return easy;
}

HttpResponse http_get(const std::string& url, const std::string& token, const std::string& range,
                      const FetchOptions& options, size_t max_body) {
  HttpResponse response;
  BodySink sink{&response, max_body};
  char message[CURL_ERROR_SIZE] = "";
  const CurlEasy easy = make_request(url, token, options);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, 120L);
  if (!range.empty()) curl_easy_setopt(easy.get(), CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, message);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, &response);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &sink);
  curl_easy_setopt(easy.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
  response.code = curl_easy_perform(easy.get());
  throw_if_interrupted();
  if (response.body_cut) response.code = CURLE_OK;
  if (response.code != CURLE_OK) response.failure = *message ? message : curl_easy_strerror(response.code);
  return response;
}

bool is_temporary_status(int status) { return status == 408 || status == 425 || status == 429 || status >= 500; }

std::string explain_status(const HttpHeaders& headers, bool with_token) {
  const int status = headers.status();
  std::string text = "HTTP " + std::to_string(status);
  if (const std::string& words = headers.get("x-error-message"); !words.empty())
    text += " (" + one_line(words.substr(0, 200)) + ")";
  switch (status) {
    case 401:
      return text + (with_token ? ": the token in HF_TOKEN was not accepted, or there is no such model"
                                : ": no such model, or a private or gated one: set HF_TOKEN");
    case 403:
      return text + (with_token ? ": this token may not read the model; accept its licence on its hub page first"
                                : ": a gated model; accept its licence on its hub page and set HF_TOKEN");
    case 404: return text + ": no such model, revision or file";
    case 416: return text + ": the server refused a byte range";
    case 429: return text + ": too many requests; try again later, or set HF_TOKEN for a higher limit";
    default: return text + (status >= 500 ? ": the server is in trouble; try again later" : "");
  }
}

std::string printable_url(const std::string& url) {
  std::string text = url.substr(0, url.find_first_of("?#"));
  const size_t host = text.find("://");
  const size_t at = text.find('@');
  // user:password@ stands before the first '/' of the path.
  if (host != std::string::npos && at != std::string::npos && at < text.find('/', host + 3)) {
    text.erase(host + 3, at - host - 2);
  }
  return one_line(text.substr(0, 300));
}

}  // namespace qwin
