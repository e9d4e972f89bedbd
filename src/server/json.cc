// SPDX-License-Identifier: Apache-2.0
#include "server/json.h"

#include "server/http_error.h"

namespace qwin::server {

Json parse_body(std::string_view text, int64_t max_depth) {
  try {
    return read_json(text, static_cast<size_t>(max_depth));
  } catch (const JsonFault& fault) {
    const std::string words = "the body: " + std::string(fault.what());
    if (fault.kind == JsonFault::Kind::too_deep) throw HttpError(400, "json_too_deep", words);
    throw HttpError::bad_request(words, std::string(cut_utf8(fault.key, 64)));
  }
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string_view cut_utf8(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xc0) == 0x80) --max_bytes;
  return text.substr(0, max_bytes);
}

}  // namespace qwin::server
