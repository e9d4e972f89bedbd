// SPDX-License-Identifier: Apache-2.0
#include "server/access.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "qwin/error.h"
#include "server/http_error.h"

namespace qwin::server {
namespace {

constexpr size_t kMinKeyLength = 8;

std::string_view trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// "[::1]:8080" -> "[::1]"
std::string_view without_port(std::string_view host) {
  const size_t colon = host.rfind(':');
  const size_t bracket = host.rfind(']');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket)) return host;
  return host.substr(0, colon);
}

bool is_own_origin(const HttpRequest& request, std::string_view origin) {
  const std::string* host = request.header("Host");
  if (!host) return false;
  return equal_ignoring_case(origin, "http://" + *host) || equal_ignoring_case(origin, "https://" + *host);
}

bool is_allowed(const std::vector<std::string>& origins, std::string_view origin) {
  return std::any_of(origins.begin(), origins.end(),
                     [&](const std::string& o) { return o == "*" || equal_ignoring_case(o, origin); });
}

}  // namespace

std::string sha256(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &length, EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  return {reinterpret_cast<const char*>(digest), length};
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex += kHex[static_cast<unsigned char>(c) >> 4];
    hex += kHex[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

void KeyStore::load(const std::string& file, const std::string& environment_key) {
  std::vector<std::string> digests;
  const auto add = [&](std::string_view key, const std::string& where) {
    if (key.size() < kMinKeyLength) {
      throw Error(ErrorCode::invalid_argument, where + " has an API key of less than 8 characters");
    }
    digests.push_back(sha256(key));
  };
  if (!file.empty()) {
    std::ifstream in(file);
    if (!in) throw Error(ErrorCode::io, file + " cannot be read");
    for (std::string line; std::getline(in, line);) {
      const std::string_view key = trim(line);
      if (!key.empty() && key.front() != '#') add(key, file);
    }
    if (digests.empty()) throw Error(ErrorCode::invalid_argument, file + " has no API key; write one a line");
  }
  if (!environment_key.empty()) add(trim(environment_key), "QWIN_API_KEY");
  digests_ = std::move(digests);
}

std::optional<std::string> KeyStore::find(std::string_view key) const {
  const std::string digest = sha256(key);
  int found = 0;
  for (const std::string& known : digests_) found |= CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0;
  if (!found) return std::nullopt;
  return to_hex(digest).substr(0, 16);
}

bool KeyStore::readable_by_others(const std::string& file) {
  struct stat info{};
  return ::stat(file.c_str(), &info) == 0 && (info.st_mode & 077) != 0;
}

std::string_view presented_key(const HttpRequest& request) {
  constexpr std::string_view kBearer = "bearer ";
  if (const std::string* value = request.header("Authorization")) {
    const std::string_view text = *value;
    if (text.size() > kBearer.size() && equal_ignoring_case(text.substr(0, kBearer.size()), kBearer)) {
      return trim(text.substr(kBearer.size()));
    }
  }
  if (const std::string* value = request.header("X-API-Key")) return trim(*value);
  return {};
}

bool is_loopback_name(std::string_view host) {
  return equal_ignoring_case(host, "localhost") || host == "127.0.0.1" || host == "[::1]" || host == "::1";
}

void check_browser_rules(const HttpRequest& request, const BrowserRules& rules) {
  const std::string* host = request.header("Host");
  if (rules.loopback && host && !is_loopback_name(without_port(*host))) {
    throw HttpError(403, "forbidden_origin", "this server answers to localhost, 127.0.0.1 and [::1] only");
  }
  const std::string* origin = request.header("Origin");
  if (origin) {
    if (is_own_origin(request, *origin) || is_allowed(rules.allowed_origins, *origin)) return;
    throw HttpError(403, "forbidden_origin", "pages of other origins may not use this server; see --allow-origin");
  }
  const std::string* site = request.header("Sec-Fetch-Site");  // a browser that leaves Origin out still tells this
  const bool changes = request.method != "GET" && request.method != "HEAD";
  if (changes && site && *site == "cross-site" && !is_allowed(rules.allowed_origins, "*")) {
    throw HttpError(403, "forbidden_origin", "pages of other origins may not use this server; see --allow-origin");
  }
}

std::vector<NameValue> cross_origin_headers(const HttpRequest& request, const BrowserRules& rules) {
  const std::string* origin = request.header("Origin");
  if (!origin || is_own_origin(request, *origin) || !is_allowed(rules.allowed_origins, *origin)) return {};
  return {{"Access-Control-Allow-Origin", *origin},
          {"Vary", "Origin"},
          {"Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"},
          {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key"},
          {"Access-Control-Max-Age", "600"}};
}

}  // namespace qwin::server
