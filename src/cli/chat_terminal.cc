// SPDX-License-Identifier: Apache-2.0
// The chat of `qwin run` on a terminal: reads messages, streams answers, tells what they took.
#include <cstdio>

#include "cli/chat_commands.h"
#include "cli/chat_history.h"
#include "cli/chat_session.h"
#include "cli/run.h"
#include "cli/terminal_input.h"
#include "cli/terminal_message.h"
#include "cli/terminal_output.h"
#include "core/printable.h"
#include "hub/model_store.h"

namespace qwin {

namespace {

constexpr char kWhite[] = " \t\r\n";

class TerminalChat {
 public:
  TerminalChat(Engine& engine, const RunOptions& options)
      : session_(engine, options), history_(store_home() / "history"), editor_(signals_, history_.entries()) {}

  void run();

 private:
  // The next message or command; false at the end.
  bool read(std::string& text);
  void answer();
  void remark_on(const GenerationResult& result);

  TerminalSignals signals_;  // first: it must outlive the editor, and raises what ended the chat once the terminal is
                             // as it was
  ChatSession session_;
  ChatHistory history_;
  LineEditor editor_;
  bool coloured_ = colours_wanted(STDERR_FILENO);
};

bool TerminalChat::read(std::string& text) {
  // libedit drops an escape sequence at a prompt's very end, so the space comes last.
  const auto prompt = [&](const char* sign) {
    return (coloured_ ? "\1\033[1;36m\1" + std::string(sign) + "\1\033[0m\1" : sign) + " ";
  };
  MessageAssembler assembler;
  std::string line;
  while (true) {
    const bool fresh = assembler.is_empty();
    const LineEditor::Outcome outcome = editor_.read(prompt(fresh ? ">>>" : "..."), line);
    if (outcome == LineEditor::Outcome::end) return false;
    if (outcome == LineEditor::Outcome::interrupted) {
      assembler.clear();
      if (fresh && line.empty()) print_remark("Ctrl-D or /quit leaves.");
      continue;
    }
    if (!assembler.feed(line)) continue;
    text = assembler.take();
    if (text.find_first_not_of(kWhite) == text.npos) continue;
    history_.add(text);
    editor_.add_history(text);
    return true;
  }
}

void TerminalChat::run() {
  print_remark(session_.raw() ? "What you type is continued as plain text. /help lists the commands, Ctrl-D leaves."
                              : "/help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.");
  std::string text;
  while (read(text)) {
    ChatAction action = ChatAction::answer;
    if (is_chat_command(text)) {
      action = run_chat_command(session_, text);
    } else {
      session_.add_user(text);
    }
    if (action == ChatAction::leave) return;
    if (action == ChatAction::answer) answer();
  }
}

void TerminalChat::answer() {
  signals_.take_interrupt();
  try {
    const ChatPrompt prompt = session_.prompt();
    if (prompt.turns_left_out > 0) {
      print_remark("The oldest " +
                   (prompt.turns_left_out == 1 ? "turn was" : std::to_string(prompt.turns_left_out) + " turns were") +
                   " left out to make room.");
    }
    AnswerView view(AnswerView::stdout_style(), prompt.inside_reasoning);
    const auto print = [](const std::string& shown) {
      std::fwrite(shown.data(), 1, shown.size(), stdout);
      std::fflush(stdout);
    };
    const GenerationResult result = session_.answer(prompt, [&](std::string_view text) {
      print(view.feed(text));
      return !signals_.is_stop_wanted();
    });
    signals_.take_interrupt();  // it has done its work; the prompt should not see it
    print(view.finish());
    remark_on(result);
  } catch (const Error& error) {
    std::fputs("\n", stdout);
    std::fflush(stdout);
    print_remark(one_line(error.what()));
  }
}

void TerminalChat::remark_on(const GenerationResult& result) {
  if (result.finish_reason == FinishReason::cancelled && result.text.empty()) {
    print_remark("Stopped before the first word; the message was taken back.");
    return;
  }
  if (result.finish_reason == FinishReason::cancelled) print_remark("Stopped.");
  if (result.context_full) {
    print_remark("Cut off: the context of " + std::to_string(session_.info().context_length) + " tokens is full.");
  } else if (result.finish_reason == FinishReason::length) {
    print_remark("Cut off at max_tokens.");
  }
  print_remark(timings_text(result) + "\n");
}

}  // namespace

void chat_in_terminal(Engine& engine, const RunOptions& options) { TerminalChat(engine, options).run(); }

}  // namespace qwin
