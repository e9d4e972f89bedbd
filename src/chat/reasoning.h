// SPDX-License-Identifier: Apache-2.0
// Splits a streamed answer into reasoning (between <think> and </think>) and the answer proper.
#pragma once

#include <string>
#include <string_view>

namespace qwin {

struct ReasoningDelta {
  std::string reasoning;
  std::string answer;
};

// One answer; feed it pieces of any size. A tag may be cut anywhere: text that could still become one is held back.
class ReasoningSplitter {
 public:
  // `inside` when the prompt itself ends in an open <think>, as DeepSeek-R1's and QwQ's do.
  explicit ReasoningSplitter(bool inside = false) : state_(inside ? State::reasoning : State::start) {}

  ReasoningDelta feed(std::string_view text);
  // The end of the stream: what was held back comes out.
  ReasoningDelta finish();

  bool inside() const { return state_ == State::reasoning; }

  // True when a rendered prompt ends in an open <think>.
  static bool prompt_opens(std::string_view prompt);

 private:
  // start: white space so far; an answer that does not begin with <think> has no reasoning.
  enum class State { start, reasoning, after, answer };

  bool advance(ReasoningDelta& out, bool ended);

  State state_;
  std::string held_;
  bool trimming_ = true;  // line breaks after a tag are not part of what follows
};

}  // namespace qwin
