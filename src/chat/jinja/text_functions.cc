// SPDX-License-Identifier: Apache-2.0
// Text helpers that filters and methods share. All keep the origin of every byte.
#include <algorithm>

#include "chat/jinja/builtins.h"
#include "chat/jinja/case_tables.h"

namespace qwin::jinja {
namespace {

// jinja2's title filter begins a word after one of these; str.title() after anything that has no case.
bool begins_title_word(char32_t before) {
  return is_space(before) || before == '-' || before == '(' || before == '{' || before == '[' || before == '<';
}

}  // namespace

TextPtr change_case(const Text& text, char how, Budget& budget) {
  auto out = std::make_shared<Text>(&budget);
  bool word_starts = true;
  text.for_each_piece(0, text.size(), [&](std::string_view piece, Origin origin) {
    std::string changed;
    budget.work(piece.size() * 8);
    for (size_t i = 0; i < piece.size();) {
      const size_t length = char_length(piece, i);
      const char32_t c = decode_char(piece.substr(i, length));
      const bool upper = how == 'u' || (how != 'l' && word_starts);
      append_cased(changed, c, !upper ? Case::lower : how == 'u' || how == 'T' ? Case::upper : Case::title);
      word_starts = how == 't' ? !has_case(c) : how == 'T' && begins_title_word(c);
      i += length;
    }
    out->append(changed, origin);
  });
  return out;
}

TextPtr strip_text(const Text& text, const Value* chars, bool left, bool right) {
  const std::string_view view = text.view();
  if (!chars) {
    const auto [begin, end] = strip_space(view, left, right);
    return text.sub(begin, end);
  }
  const std::string_view set = chars->view();
  const auto in_set = [&](size_t begin, size_t end) {
    for (size_t i = 0; i < set.size(); i += char_length(set, i)) {
      if (set.substr(i, char_length(set, i)) == view.substr(begin, end - begin)) return true;
    }
    return false;
  };
  size_t begin = 0;
  size_t end = view.size();
  const auto charge = [&] {
    if (text.budget()) text.budget()->work(set.size() * 8);
  };
  while (left && begin < end && in_set(begin, begin + char_length(view, begin))) {
    charge();
    begin += char_length(view, begin);
  }
  while (right && end > begin) {
    charge();
    size_t start = end - 1;
    while (start > begin && (static_cast<unsigned char>(view[start]) & 0xC0) == 0x80) --start;
    if (!in_set(start, end)) break;
    end = start;
  }
  return text.sub(begin, end);
}

TextPtr replace_text(const Text& text, const Text& from, const Text& to, Int count, Budget& budget) {
  auto out = std::make_shared<Text>(&budget);
  const std::string_view view = text.view();
  size_t done = 0;
  size_t search = 0;
  while (count != 0) {
    budget.step();
    const size_t found = from.empty() ? search : view.find(from.view(), search);
    if (found == view.npos || found > view.size()) break;
    out->append(text, done, found);
    out->append(to);
    done = found + from.size();
    if (count > 0) --count;
    if (!from.empty()) {
      search = done;
    } else if (found == view.size()) {
      break;
    } else {  // an empty needle is found before every character and at the end
      search = found + char_length(view, found);
    }
  }
  out->append(text, done, view.size());
  return out;
}

TextPtr join_texts(const Text& separator, const List& items, bool convert, Budget& budget) {
  auto out = std::make_shared<Text>(&budget);
  for (size_t i = 0; i < items.items.size(); ++i) {
    const Value& item = items.items[i];
    if (!convert && !item.is(Type::text)) fail(std::string("join: expected a string, got ") + type_name(item));
    if (i > 0) out->append(separator);
    out->append(*to_text(item, budget));
  }
  return out;
}

}  // namespace qwin::jinja
