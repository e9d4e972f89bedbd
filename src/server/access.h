// SPDX-License-Identifier: Apache-2.0
// Who may ask: API keys, and the rules that keep foreign web pages away.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_message.h"

namespace qwin::server {

// Keys are kept as SHA-256 alone. Not thread-safe.
class KeyStore {
 public:
  // One key a line of `file` (empty lines and # comments are skipped), and the key in `environment_key`; either may be
  // empty. Throws Error: io, or invalid_argument when the file has no key or one shorter than 8 characters.
  void load(const std::string& file, const std::string& environment_key);
  bool required() const { return !digests_.empty(); }
  // An id of the key, safe to log and to store, or nothing. Takes the same time whatever the key.
  std::optional<std::string> find(std::string_view key) const;
  // Others can read the file.
  static bool readable_by_others(const std::string& file);

 private:
  std::vector<std::string> digests_;
};

// SHA-256, 32 bytes.
std::string sha256(std::string_view text);
std::string to_hex(std::string_view bytes);

// "Authorization: Bearer KEY" or "X-API-Key: KEY"; empty without.
std::string_view presented_key(const HttpRequest& request);

bool is_loopback_name(std::string_view host);

struct BrowserRules {
  bool loopback = true;                      // served on loopback only
  std::vector<std::string> allowed_origins;  // beside the server's own; "*": any
};

// Throws HttpError 403 for a Host that is not this machine's (DNS rebinding) or a foreign Origin.
void check_browser_rules(const HttpRequest& request, const BrowserRules& rules);
// The headers that let an allowed foreign page read the response.
std::vector<NameValue> cross_origin_headers(const HttpRequest& request, const BrowserRules& rules);

}  // namespace qwin::server
