// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/pretokenizer.h"

#include <array>

#include "tokenizer/unicode.h"

namespace qwin {
namespace {

struct Character {
  CharClass char_class;
  uint32_t length;
};

constexpr std::array<CharClass, 128> make_ascii_classes() {
  std::array<CharClass, 128> classes{};
  for (int c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 'a' + 'A'] = CharClass::letter;
  for (int c = '0'; c <= '9'; ++c) classes[c] = CharClass::number;
  for (int c : {'\t', '\v', '\f', ' '}) classes[c] = CharClass::space;
  for (int c : {'\r', '\n'}) classes[c] = CharClass::newline;
  return classes;
}

constexpr std::array<CharClass, 128> kAsciiClasses = make_ascii_classes();

inline Character character_at(std::string_view text, size_t position) {
  const auto byte = static_cast<uint8_t>(text[position]);
  if (byte < 0x80) return {kAsciiClasses[byte], 1};
  const unicode::Decoded c = unicode::decode(text, position);
  return {static_cast<CharClass>(unicode::properties(c.code_point) & unicode::kClassMask), c.length};
}

// The end of the run of characters of this class from `position` on.
inline size_t skip(std::string_view text, size_t position, CharClass char_class) {
  while (position < text.size()) {
    const Character c = character_at(text, position);
    if (c.char_class != char_class) break;
    position += c.length;
  }
  return position;
}

// The end of 's 't 're 've 'm 'll 'd in any case, or 0. The long s (U+017F) is an s in any case, too.
size_t contraction_end(std::string_view text, size_t position) {
  const size_t left = text.size() - position;
  if (left < 2) return 0;
  const char first = static_cast<char>(text[position + 1] | 0x20);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return position + 2;
  if (left < 3) return 0;
  if (text[position + 1] == '\xC5') return text[position + 2] == '\xBF' ? position + 3 : 0;
  const char second = static_cast<char>(text[position + 2] | 0x20);
  const bool matches = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
  return matches ? position + 3 : 0;
}

// ` ?[^\s\p{L}\p{N}]+[\r\n]*` from its first symbol on.
size_t symbols_end(std::string_view text, size_t position) {
  position = skip(text, position, CharClass::other);
  return skip(text, position, CharClass::newline);
}

// `\s*[\r\n]+|\s+(?!\S)|\s+`: up to the last line break of the white space, else all of it but the last character
// before a word.
size_t white_space_end(std::string_view text, size_t begin) {
  size_t last = begin, after_newline = begin;
  size_t position = begin;
  while (position < text.size()) {
    const Character c = character_at(text, position);
    if (c.char_class != CharClass::space && c.char_class != CharClass::newline) break;
    last = position;
    position += c.length;
    if (c.char_class == CharClass::newline) after_newline = position;
  }
  if (after_newline != begin) return after_newline;
  return position == text.size() || last == begin ? position : last;
}

}  // namespace

size_t next_piece_end(std::string_view text, size_t begin) {
  const Character first = character_at(text, begin);
  const size_t second = begin + first.length;
  if (first.char_class == CharClass::letter) return skip(text, second, CharClass::letter);
  if (first.char_class == CharClass::number) return second;
  if (first.char_class == CharClass::newline) return white_space_end(text, begin);
  if (text[begin] == '\'') {
    if (const size_t end = contraction_end(text, begin)) return end;
  }
  const bool at_end = second == text.size();
  const Character next = at_end ? Character{CharClass::space, 0} : character_at(text, second);
  if (next.char_class == CharClass::letter) return skip(text, second + next.length, CharClass::letter);
  if (first.char_class == CharClass::other) return symbols_end(text, begin);
  if (text[begin] == ' ' && next.char_class == CharClass::other && !at_end) return symbols_end(text, second);
  return white_space_end(text, begin);
}

}  // namespace qwin
