// SPDX-License-Identifier: Apache-2.0
#include "chat/jinja/text.h"

#include <algorithm>

namespace qwin::jinja {

TextPtr Text::make(Budget* budget, std::string_view bytes, Origin origin) {
  auto text = std::make_shared<Text>(budget);
  text->append(bytes, origin);
  return text;
}

TextPtr Text::borrow(Budget* budget, std::string_view bytes) {
  auto text = std::make_shared<Text>(budget);
  text->charge_.set(sizeof(Text));
  text->borrowed_ = bytes.data() ? bytes : std::string_view("");
  return text;
}

// Grows by an eighth when large: doubling a long answer would cost more than the answer.
void Text::grow(size_t extra) {
  if (borrowed_.data()) {
    owned_ = std::string(borrowed_);
    borrowed_ = {};
  }
  const size_t needed = owned_.size() + extra;
  if (needed <= owned_.capacity()) return;
  const size_t capacity = needed + (needed < 4096 ? needed : needed / 8);
  charge_.set(sizeof(Text) + capacity + switches_.capacity() * sizeof(size_t));
  std::string larger;
  larger.reserve(capacity);
  larger.append(owned_);
  owned_.swap(larger);
}

void Text::append(std::string_view bytes, Origin origin) {
  if (budget_) budget_->work(bytes.size());
  if (bytes.empty()) return;
  grow(bytes.size());
  if (owned_.empty()) {
    first_ = origin;
  } else if (last_origin() != origin) {
    switches_.push_back(owned_.size());
    charge_.set(sizeof(Text) + owned_.capacity() + switches_.capacity() * sizeof(size_t));
  }
  owned_.append(bytes);
}

void Text::append(const Text& other, size_t begin, size_t end) {
  other.for_each_piece(begin, end, [this](std::string_view bytes, Origin origin) { append(bytes, origin); });
}

TextPtr Text::sub(size_t begin, size_t end) const {
  auto part = std::make_shared<Text>(budget_);
  part->append(*this, begin, std::max(begin, end));
  return part;
}

size_t Text::first_switch_after(size_t offset) const {
  return static_cast<size_t>(std::upper_bound(switches_.begin(), switches_.end(), offset) - switches_.begin());
}

size_t char_length(std::string_view text, size_t offset) {
  const auto lead = static_cast<unsigned char>(text[offset]);
  const size_t length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return std::min(length, text.size() - offset);
}

size_t count_chars(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); i += char_length(text, i)) ++count;
  return count;
}

char32_t decode_char(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(character[i])); };
  switch (character.size()) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3: return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::pair<size_t, size_t> strip_space(std::string_view text, bool left, bool right) {
  size_t begin = 0;
  size_t end = text.size();
  while (left && begin < end) {
    const size_t length = char_length(text, begin);
    if (!is_space(decode_char(text.substr(begin, length)))) break;
    begin += length;
  }
  while (right && end > begin) {
    size_t start = end - 1;
    while (start > begin && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    if (!is_space(decode_char(text.substr(start, end - start)))) break;
    end = start;
  }
  return {begin, end};
}

}  // namespace qwin::jinja
