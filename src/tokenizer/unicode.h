// SPDX-License-Identifier: Apache-2.0
// Code points and their classes. Bytes that are no UTF-8 count as characters of their own, of class other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/unicode_tables.h"

namespace qwin {

enum class CharClass : uint8_t { other, letter, number, space, newline };

namespace unicode {

inline constexpr uint8_t kClassMask = 7;
// A character that NFC may change, or that may change what stands before it.
inline constexpr uint8_t kNotInert = 8;
inline constexpr uint32_t kInvalid = 0xFFFFFFFF;

struct Decoded {
  uint32_t code_point;  // kInvalid for a byte that begins no well-formed sequence
  uint32_t length;      // in bytes, at least 1
};

inline uint8_t properties(uint32_t code_point) {
  if (code_point > kMaxCodePoint) return 0;
  const uint32_t block = kBlockIndex[code_point >> kBlockBits];
  return kBlocks[(block << kBlockBits) | (code_point & ((1u << kBlockBits) - 1))];
}

inline bool is_continuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// The character at `position`. Requires: position < text.size().
inline Decoded decode(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[position + i]); };
  const uint32_t lead = byte(0);
  const size_t left = text.size() - position;
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2) return {kInvalid, 1};
  if (left < 2 || (byte(1) & 0xC0) != 0x80) return {kInvalid, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3Fu), 2};
  if (left < 3 || (byte(2) & 0xC0) != 0x80) return {kInvalid, 1};
  if (lead < 0xF0) {
    const uint32_t c = (lead & 0x0F) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    if (c < 0x800 || (c >= 0xD800 && c <= 0xDFFF)) return {kInvalid, 1};
    return {c, 3};
  }
  if (lead > 0xF4 || left < 4 || (byte(3) & 0xC0) != 0x80) return {kInvalid, 1};
  const uint32_t c = (lead & 0x07) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
  if (c < 0x10000 || c > kMaxCodePoint) return {kInvalid, 1};
  return {c, 4};
}

void append_utf8(std::string& out, uint32_t code_point);

// True when all of `text` is well-formed UTF-8.
bool is_valid_utf8(std::string_view text);

// Appends the characters of `bytes` that are complete, each ill-formed sequence as U+FFFD (the maximal subparts of the
// Unicode standard, as Python's errors="replace"). Returns how many bytes at the end may still become a character; they
// are not appended.
size_t append_replacing_invalid(std::string& out, std::string_view bytes);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace unicode
}  // namespace qwin
