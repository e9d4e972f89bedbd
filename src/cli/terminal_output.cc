// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal_output.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace qwin {

std::string terminal_text(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const uint8_t next = i + 1 < text.size() ? static_cast<uint8_t>(text[i + 1]) : 0;
    if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {  // C1 in UTF-8
      ++i;
    } else if (byte == '\n' || byte == '\t' || (byte >= 0x20 && byte != 0x7F)) {
      shown += text[i];
    }
  }
  return shown;
}

bool colours_wanted(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') && term != nullptr && *term != '\0' &&
         std::strcmp(term, "dumb") != 0;
}

std::string dimmed(std::string_view text) { return text.empty() ? "" : "\033[2m" + std::string(text) + "\033[0m"; }

AnswerView::Style AnswerView::stdout_style() {
  return {.terminal = isatty(STDOUT_FILENO) == 1, .colours = colours_wanted(STDOUT_FILENO)};
}

std::string AnswerView::show(const ReasoningDelta& delta) {
  std::string shown;
  if (!delta.reasoning.empty()) {
    thought_ = true;
    shown += dimmed(terminal_text(delta.reasoning));
  }
  if (!delta.answer.empty()) {
    if (thought_) shown += "\n\n";
    thought_ = false;
    shown += terminal_text(delta.answer);
  }
  return shown;
}

std::string AnswerView::feed(std::string_view text) {
  std::string shown(text);
  if (style_.terminal) shown = style_.colours ? show(splitter_.feed(text)) : terminal_text(text);
  if (!shown.empty()) at_line_start_ = shown.back() == '\n';
  return shown;
}

std::string AnswerView::finish() {
  std::string shown = style_.colours ? show(splitter_.finish()) : "";
  if (!shown.empty()) at_line_start_ = shown.back() == '\n';
  if (!at_line_start_ || !style_.terminal) shown += '\n';
  return shown;
}

void print_remark(const std::string& text) {
  std::fprintf(stderr, "%s\n", colours_wanted(STDERR_FILENO) ? dimmed(text).c_str() : text.c_str());
}

}  // namespace qwin
