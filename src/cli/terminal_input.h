// SPDX-License-Identifier: Apache-2.0
// Line editing on the terminal: UTF-8, history, and pasted text that stays one message however many lines it has.
#pragma once

#include <histedit.h>

#include <cstdio>
#include <string>
#include <vector>

#include "cli/terminal_signals.h"

namespace qwin {

// Reads stdin, which is a terminal; draws on stderr, or on stdout when only that is a terminal. While one lives, keys
// typed between lines are kept for the next one. One at a time.
class LineEditor {
 public:
  enum class Outcome { line, interrupted, end };

  LineEditor(TerminalSignals& signals, const std::vector<std::string>& history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // `line` holds line breaks where text was pasted or Alt-Enter pressed, none at its end. Ctrl-C: interrupted, and
  // `line` is what was cleared.
  Outcome read(const std::string& prompt, std::string& line);
  void add_history(const std::string& entry);

 private:
  void bind_keys();
  static int on_read(EditLine* editor, wchar_t* c);
  static wchar_t* on_prompt(EditLine* editor);
  static unsigned char on_paste(EditLine* editor, wint_t);
  static unsigned char on_line_break(EditLine* editor, wint_t);
  static LineEditor& of(EditLine* editor);

  bool next_char(wchar_t& c);
  bool fill();

  TerminalSignals& signals_;
  std::FILE* screen_;
  EditLine* editor_;
  HistoryW* history_;
  HistEventW event_{};
  std::wstring prompt_;
  std::string unread_;  // bytes read from the terminal, not yet taken
  Outcome outcome_ = Outcome::line;
  bool bracketed_paste_;
};

}  // namespace qwin
