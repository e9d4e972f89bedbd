// SPDX-License-Identifier: Apache-2.0
// A string that knows of each byte whether the template's author wrote it or whether it came in as data. Slicing,
// joining and changing case keep that knowledge, so that only the author's own bytes can become special tokens.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/budget.h"

namespace qwin::jinja {

enum class Origin : bool { data = false, author = true };

struct Object {
  virtual ~Object() = default;
};

// Built by its first owner, unchanged once shared. A borrowed text views bytes that outlive the rendering.
class Text final : public Object {
 public:
  explicit Text(Budget* budget = nullptr) : charge_(budget), budget_(budget) {}
  static std::shared_ptr<Text> make(Budget* budget, std::string_view bytes, Origin origin);
  static std::shared_ptr<Text> borrow(Budget* budget, std::string_view bytes);

  std::string_view view() const { return borrowed_.data() ? borrowed_ : std::string_view(owned_); }
  size_t size() const { return view().size(); }
  bool empty() const { return view().empty(); }
  Budget* budget() const { return budget_; }

  void append(std::string_view bytes, Origin origin);
  void append(const Text& other) { append(other, 0, other.size()); }
  void append(const Text& other, size_t begin, size_t end);
  std::shared_ptr<Text> sub(size_t begin, size_t end) const;

  // Calls visit(bytes, origin) for each stretch of one origin within [begin, end).
  template <typename Visit>
  void for_each_piece(size_t begin, size_t end, Visit visit) const;

 private:
  void grow(size_t extra);
  Origin last_origin() const { return flip(first_, switches_.size()); }
  static Origin flip(Origin origin, size_t times) {
    return static_cast<Origin>(static_cast<bool>(origin) ^ (times & 1));
  }
  size_t first_switch_after(size_t offset) const;

  Charge charge_;
  Budget* budget_;
  std::string owned_;
  std::string_view borrowed_;
  Origin first_ = Origin::data;
  std::vector<size_t> switches_;  // offsets at which the origin flips, ascending
};

using TextPtr = std::shared_ptr<Text>;

template <typename Visit>
void Text::for_each_piece(size_t begin, size_t end, Visit visit) const {
  size_t next = first_switch_after(begin);
  while (begin < end) {
    const size_t stop = next < switches_.size() && switches_[next] < end ? switches_[next] : end;
    visit(view().substr(begin, stop - begin), flip(first_, next));
    begin = stop;
    ++next;
  }
}

// The length of the UTF-8 character at `offset`; 1 for a byte that starts none.
size_t char_length(std::string_view text, size_t offset);
size_t count_chars(std::string_view text);
char32_t decode_char(std::string_view character);
void append_utf8(std::string& out, char32_t code_point);
// Python's str.isspace() of one character.
bool is_space(char32_t code_point);
// The part of `text` between white space, as offsets [begin, end).
std::pair<size_t, size_t> strip_space(std::string_view text, bool left, bool right);

}  // namespace qwin::jinja
