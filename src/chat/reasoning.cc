// SPDX-License-Identifier: Apache-2.0
#include "chat/reasoning.h"

#include <algorithm>

namespace qwin {
namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";
constexpr std::string_view kSpace = " \t\r\n";

// How many bytes at the end of `text` could be the beginning of `tag`.
size_t partial_tag(std::string_view text, std::string_view tag) {
  for (size_t length = std::min(text.size(), tag.size() - 1); length > 0; --length) {
    if (text.ends_with(tag.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

ReasoningDelta ReasoningSplitter::feed(std::string_view text) {
  held_ += text;
  ReasoningDelta out;
  while (advance(out, false)) {
  }
  return out;
}

ReasoningDelta ReasoningSplitter::finish() {
  ReasoningDelta out;
  while (advance(out, true)) {
  }
  return out;
}

// Moves what is certain from held_ to `out`; true when the state changed and more may follow.
bool ReasoningSplitter::advance(ReasoningDelta& out, bool ended) {
  if (state_ == State::start) {
    const size_t begin = std::min(held_.find_first_not_of(kSpace), held_.size());
    const std::string_view rest = std::string_view(held_).substr(begin);
    if (rest.starts_with(kOpen)) {
      held_.erase(0, begin + kOpen.size());
      state_ = State::reasoning;
      return true;
    }
    if (!ended && kOpen.starts_with(rest)) return false;
    state_ = State::answer;
    return true;
  }
  if (state_ == State::answer) {
    out.answer += held_;
    held_.clear();
    return false;
  }
  if (trimming_) {
    held_.erase(0, std::min(held_.find_first_not_of("\r\n"), held_.size()));
    if (held_.empty()) return false;
    trimming_ = false;
  }
  if (state_ == State::after) {
    state_ = State::answer;
    return true;
  }
  const size_t close = held_.find(kClose);
  if (close != held_.npos) {
    const std::string_view all = std::string_view(held_).substr(0, close);
    out.reasoning += all.substr(0, all.find_last_not_of("\r\n") + 1);
    held_.erase(0, close + kClose.size());
    state_ = State::after;
    trimming_ = true;
    return true;
  }
  // A possible tag and the line breaks before it wait.
  size_t certain = held_.size() - (ended ? 0 : partial_tag(held_, kClose));
  if (!ended) certain = std::string_view(held_).substr(0, certain).find_last_not_of("\r\n") + 1;
  out.reasoning += held_.substr(0, certain);
  held_.erase(0, certain);
  return false;
}

bool ReasoningSplitter::prompt_opens(std::string_view prompt) {
  const size_t end = prompt.find_last_not_of(kSpace);
  return end != prompt.npos && prompt.substr(0, end + 1).ends_with(kOpen);
}

}  // namespace qwin
