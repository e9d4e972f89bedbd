// SPDX-License-Identifier: Apache-2.0
// A model's words on a terminal: no control sequences of its own, thoughts dimmed; and the program's dim remarks.
#pragma once

#include <string>
#include <string_view>

#include "chat/reasoning.h"

namespace qwin {

// Without control characters (C0 but for line break and tab, DEL, C1): a model must not drive the terminal.
// Requires: whole characters.
std::string terminal_text(std::string_view text);

// Colours only on a terminal that has them, and never against NO_COLOR.
bool colours_wanted(int fd);
std::string dimmed(std::string_view text);

// What an answer looks like on stdout. Not a terminal: the text as it is. Without colours, thoughts keep their tags.
class AnswerView {
 public:
  struct Style {
    bool terminal, colours;
  };
  // `inside_reasoning`: the prompt ends in an open <think>.
  AnswerView(Style style, bool inside_reasoning) : style_(style), splitter_(inside_reasoning) {}
  // The style of stdout.
  static Style stdout_style();

  std::string feed(std::string_view text);
  // What was held back, and a line break (on a terminal, unless the answer ended with one).
  std::string finish();

 private:
  std::string show(const ReasoningDelta& delta);

  Style style_;
  ReasoningSplitter splitter_;
  bool thought_ = false;
  bool at_line_start_ = true;
};

// A remark on stderr, one line, dim where there are colours.
void print_remark(const std::string& text);

}  // namespace qwin
