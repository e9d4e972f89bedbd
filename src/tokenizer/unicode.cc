// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/unicode.h"

#include <cstring>

namespace qwin::unicode {
namespace {

// The second byte a lead byte allows; an empty range for bytes that lead nothing.
struct SecondByteRange {
  uint8_t low = 1, high = 0;
  uint32_t length = 0;  // of the whole character
};

SecondByteRange second_byte_range(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {0x80, 0xBF, 2};
  if (lead == 0xE0) return {0xA0, 0xBF, 3};
  if (lead == 0xED) return {0x80, 0x9F, 3};
  if (lead >= 0xE1 && lead <= 0xEF) return {0x80, 0xBF, 3};
  if (lead == 0xF0) return {0x90, 0xBF, 4};
  if (lead >= 0xF1 && lead <= 0xF3) return {0x80, 0xBF, 4};
  if (lead == 0xF4) return {0x80, 0x8F, 4};
  return {};
}

// The bytes at `position` that form, or begin, one character; 1 for a byte that begins none. `complete` tells the two
// apart.
struct Subpart {
  size_t length;
  bool complete;
  bool cut_by_end;
};

Subpart maximal_subpart(std::string_view bytes, size_t position) {
  const auto lead = static_cast<uint8_t>(bytes[position]);
  if (lead < 0x80) return {1, true, false};
  const SecondByteRange range = second_byte_range(lead);
  if (range.length == 0) return {1, false, false};
  for (size_t i = 1; i < range.length; ++i) {
    if (position + i == bytes.size()) return {i, false, true};
    const auto next = static_cast<uint8_t>(bytes[position + i]);
    const bool fits = i == 1 ? next >= range.low && next <= range.high : (next & 0xC0) == 0x80;
    if (!fits) return {i, false, false};
  }
  return {range.length, true, false};
}

}  // namespace

void append_utf8(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Decoded c = decode(text, i);
    if (c.code_point == kInvalid) return false;
    i += c.length;
  }
  return true;
}

size_t append_replacing_invalid(std::string& out, std::string_view bytes) {
  size_t copied = 0;  // well-formed bytes from here on are appended in one piece
  for (size_t i = 0; i < bytes.size();) {
    const Subpart part = maximal_subpart(bytes, i);
    if (!part.complete) {
      out.append(bytes.substr(copied, i - copied));
      if (part.cut_by_end) return part.length;
      out.append(kReplacementCharacter);
      copied = i + part.length;
    }
    i += part.length;
  }
  out.append(bytes.substr(copied));
  return 0;
}

}  // namespace qwin::unicode
