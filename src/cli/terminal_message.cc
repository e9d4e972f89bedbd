// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal_message.h"

#include <utility>

namespace qwin {

namespace {

constexpr std::string_view kQuotes = "\"\"\"";
constexpr std::string_view kSpace = " \t\r\n";

std::string_view without_end_space(std::string_view text) { return text.substr(0, text.find_last_not_of(kSpace) + 1); }

}  // namespace

bool MessageAssembler::feed(std::string_view line) {
  if (state_ == State::empty && line.starts_with(kQuotes)) {
    state_ = State::quoted;
    line.remove_prefix(kQuotes.size());
    if (without_end_space(line).empty()) return false;  // the text begins on the next line
  }
  text_ += line;
  if (state_ == State::quoted) {
    text_ += '\n';
    const std::string_view all = without_end_space(text_);
    if (!all.ends_with(kQuotes)) return false;
    text_.resize(all.size() - kQuotes.size());
    if (text_.ends_with('\n')) text_.pop_back();
    return true;
  }
  state_ = State::continued;
  if (!line.ends_with('\\')) return true;
  text_.back() = '\n';
  return false;
}

std::string MessageAssembler::take() {
  state_ = State::empty;
  return std::exchange(text_, {});
}

}  // namespace qwin
