// SPDX-License-Identifier: Apache-2.0
#include "document/sentences.h"

#include <algorithm>
#include <iterator>

#include "tokenizer/unicode.h"

namespace qwin {

namespace {

using unicode::decode;
using unicode::Decoded;

// Whoever ends with a full stop after one of these has not ended a sentence.
constexpr std::string_view kAbbreviations[] = {
    "Art",  "Co",  "Corp", "Dr",  "Eq", "Eqs", "Fig", "Figs",   "Inc", "Ltd", "Mr",  "Mrs", "Ms", "No", "Nos",
    "Prof", "Ref", "Refs", "Sec", "St", "Vol", "al",  "approx", "cf",  "e.g", "i.e", "p",   "pp", "v",  "vs",
};

bool is_one_of(uint32_t c, std::u32string_view set) { return set.find(static_cast<char32_t>(c)) != set.npos; }
bool is_chinese_mark(uint32_t c) { return is_one_of(c, U"。！？；…"); }
bool is_mark(uint32_t c) { return is_one_of(c, U".!?"); }
bool closes(uint32_t c) { return is_one_of(c, U"\"')]”’」』）》】"); }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_chinese(uint32_t c) { return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF); }

template <typename Is>
size_t skip(std::string_view text, size_t at, Is&& is) {
  while (at < text.size()) {
    const Decoded c = decode(text, at);
    if (!is(c.code_point)) break;
    at += c.length;
  }
  return at;
}

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

// A heading, an item of a list, a quotation, a row of a table, an article of a contract.
bool begins_item(std::string_view text, size_t at) {
  const std::string_view rest = text.substr(at);
  if (rest.starts_with('#') || rest.starts_with('|') || rest.starts_with('>') || rest.starts_with("```")) return true;
  if (rest.starts_with("•") || rest.starts_with("·") || rest.starts_with("§")) return true;
  if (rest.size() > 1 && (rest[0] == '-' || rest[0] == '*' || rest[0] == '+') && rest[1] == ' ') return true;
  if (rest.starts_with("第")) {
    const size_t end = std::min({rest.find("条"), rest.find("章"), rest.find("节")});
    if (end < 24) return true;
  }
  size_t digits = 0;
  while (digits < rest.size() && digits < 4 && is_digit(rest[digits])) ++digits;
  const std::string_view after = rest.substr(digits);
  return digits > 0 && (after.starts_with(". ") || after.starts_with(") ") || after.starts_with("、"));
}

// The word that a full stop at `stop` follows.
std::string_view word_before(std::string_view text, size_t stop) {
  size_t begin = stop;
  while (begin > 0 && !is_space(text[begin - 1]) && text[begin - 1] != '(') --begin;
  return text.substr(begin, stop - begin);
}

bool is_abbreviated(std::string_view text, size_t stop) {
  const std::string_view word = word_before(text, stop);
  if (word.size() == 1 && is_upper(word[0])) return true;  // an initial
  if (std::ranges::find(kAbbreviations, word) != std::end(kAbbreviations)) return true;
  // The number of a heading or of an item: digits and full stops at the beginning of a line.
  const auto begin = static_cast<size_t>(word.data() - text.data());
  const bool begins_line = begin == 0 || text[begin - 1] == '\n';
  return begins_line && std::ranges::all_of(word, [](char c) { return is_digit(c) || c == '.'; });
}

// The end of a sentence whose mark, an ASCII one, stands at `mark`; 0 when it is none.
size_t end_after_mark(std::string_view text, size_t mark) {
  const size_t behind = skip(text, skip(text, mark, is_mark), closes);
  if (behind == text.size()) return behind;
  if (!is_space(text[behind])) return is_chinese(decode(text, behind).code_point) && text[mark] != '.' ? behind : 0;
  const size_t next = skip_space(text, behind);
  if (text[mark] != '.' || next == text.size()) return next;
  return is_lower(text[next]) || is_abbreviated(text, mark) ? 0 : next;
}

// The same of a paragraph, whose line ends at `newline`.
size_t end_after_line(std::string_view text, size_t newline) {
  const size_t next = skip_space(text, newline);
  const auto newlines = std::ranges::count(text.substr(newline, next - newline), '\n');
  const size_t line = text.rfind('\n', newline == 0 ? 0 : newline - 1);
  const bool is_heading = text.substr(line == text.npos || line == newline ? 0 : line + 1).starts_with('#');
  return newlines > 1 || is_heading || begins_item(text, next) ? next : 0;
}

}  // namespace

std::vector<size_t> sentence_ends(std::string_view text) {
  std::vector<size_t> ends;
  for (size_t at = 0; at < text.size();) {
    const Decoded c = decode(text, at);
    size_t end = 0;
    if (is_chinese_mark(c.code_point)) {
      end = skip_space(text, skip(text, skip(text, at, is_chinese_mark), closes));
    } else if (is_mark(c.code_point)) {
      end = end_after_mark(text, at);
    } else if (text[at] == '\n') {
      end = end_after_line(text, at);
    }
    at = end > 0 ? end : at + c.length;
    if (end > 0) ends.push_back(end);
  }
  if (!text.empty() && (ends.empty() || ends.back() < text.size())) ends.push_back(text.size());
  return ends;
}

bool is_mostly_chinese(std::string_view text) {
  size_t chinese = 0, letters = 0;
  for (size_t at = 0; at < text.size();) {
    const Decoded c = decode(text, at);
    chinese += is_chinese(c.code_point);
    letters += c.length == 1 && (is_lower(text[at]) || is_upper(text[at]));
    at += c.length;
  }
  // An English word has some five letters, a Chinese one two characters.
  return 2 * chinese > letters;
}

}  // namespace qwin
