// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal_input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include "qwin/error.h"
#include "tokenizer/unicode.h"

namespace qwin {

namespace {

constexpr size_t kMaxPasteChars = size_t{4} << 20;
constexpr wchar_t kInvisible = L'\1';  // brackets escape sequences in a prompt
constexpr std::wstring_view kPasteEnd = L"\033[201~";

std::wstring to_wide(std::string_view text) {
  std::wstring wide;
  for (size_t i = 0; i < text.size();) {
    const unicode::Decoded decoded = unicode::decode(text, i);
    wide += static_cast<wchar_t>(decoded.code_point == unicode::kInvalid ? 0xFFFD : decoded.code_point);
    i += decoded.length;
  }
  return wide;
}

std::string to_utf8(std::wstring_view wide) {
  std::string text;
  for (const wchar_t c : wide) unicode::append_utf8(text, static_cast<uint32_t>(c));
  return text;
}

// Pasted text as a message: line feeds for the terminal's carriage returns, no other control characters but tabs.
std::wstring clean_paste(std::wstring_view text) {
  std::wstring clean;
  for (size_t i = 0; i < text.size(); ++i) {
    const wchar_t c = text[i];
    if (c == L'\r') {
      if (i + 1 == text.size() || text[i + 1] != L'\n') clean += L'\n';
    } else if (c == L'\n' || c == L'\t' || (c >= 0x20 && c != 0x7F && !(c >= 0x80 && c < 0xA0))) {
      clean += c;
    }
  }
  return clean;
}

// libedit measures and converts characters by the locale; only their classes are taken from it.
void use_utf8_characters() {
  const char* name = std::setlocale(LC_CTYPE, "");
  if (name == nullptr || MB_CUR_MAX < 4) std::setlocale(LC_CTYPE, "C.UTF-8");
}

bool is_smart_terminal() {
  const char* term = std::getenv("TERM");
  return term != nullptr && *term != '\0' && std::strcmp(term, "dumb") != 0;
}

}  // namespace

LineEditor& LineEditor::of(EditLine* editor) {
  void* self = nullptr;
  el_wget(editor, EL_CLIENTDATA, &self);
  return *static_cast<LineEditor*>(self);
}

LineEditor::LineEditor(TerminalSignals& signals, const std::vector<std::string>& history)
    : signals_(signals), bracketed_paste_(is_smart_terminal()) {
  use_utf8_characters();
  const int fd = isatty(STDERR_FILENO) == 0 && isatty(STDOUT_FILENO) == 1 ? STDOUT_FILENO : STDERR_FILENO;
  // A stream of its own is buffered, and a line appears at once instead of character by character.
  screen_ = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 3), "w");
  editor_ = screen_ == nullptr ? nullptr : el_init("qwin", stdin, screen_, screen_);
  history_ = history_winit();
  if (editor_ == nullptr || history_ == nullptr) throw Error(ErrorCode::io, "the terminal cannot be used");
  el_wset(editor_, EL_CLIENTDATA, this);
  el_wset(editor_, EL_SIGNAL, 0);
  el_wset(editor_, EL_EDITOR, L"emacs");
  el_wset(editor_, EL_PROMPT_ESC, &LineEditor::on_prompt, kInvisible);
  el_wset(editor_, EL_GETCFN, &LineEditor::on_read);
  history_w(history_, &event_, H_SETSIZE, 1000);
  history_w(history_, &event_, H_SETUNIQUE, 1);
  el_wset(editor_, EL_HIST, history_w, history_);
  bind_keys();
  // Between lines, too, typed keys wait unseen: no echo into an answer, no Ctrl-D swallowed by the terminal.
  el_wset(editor_, EL_SETTY, L"-x", L"-echo", L"-icanon", nullptr);
  for (const std::string& entry : history) add_history(entry);
  if (bracketed_paste_) std::fputs("\033[?2004h", screen_);
}

LineEditor::~LineEditor() {
  if (bracketed_paste_) std::fputs("\033[?2004l", screen_);
  el_end(editor_);
  history_wend(history_);
  std::fclose(screen_);
}

void LineEditor::bind_keys() {
  el_wset(editor_, EL_ADDFN, L"qwin-paste", L"Insert pasted text", &LineEditor::on_paste);
  el_wset(editor_, EL_ADDFN, L"qwin-line-break", L"Insert a line break", &LineEditor::on_line_break);
  static constexpr const wchar_t* kKeys[][2] = {
      {L"\\e[200~", L"qwin-paste"},        {L"\\e\\r", L"qwin-line-break"},  // Alt-Enter
      {L"\\e\\n", L"qwin-line-break"},     {L"^R", L"em-inc-search-prev"},  {L"\\e[1~", L"ed-move-to-beg"},
      {L"\\e[H", L"ed-move-to-beg"},       {L"\\e[4~", L"ed-move-to-end"},  {L"\\e[F", L"ed-move-to-end"},
      {L"\\e[3~", L"ed-delete-next-char"}, {L"\\e[1;5C", L"em-next-word"},  {L"\\e[1;5D", L"ed-prev-word"},
  };
  for (const auto& [keys, action] : kKeys) el_wset(editor_, EL_BIND, keys, action, nullptr);
  el_source(editor_, nullptr);  // the user's own ~/.editrc
}

void LineEditor::add_history(const std::string& entry) {
  history_w(history_, &event_, H_ENTER, to_wide(entry).c_str());
}

LineEditor::Outcome LineEditor::read(const std::string& prompt, std::string& line) {
  prompt_ = to_wide(prompt);
  outcome_ = Outcome::line;
  el_wset(editor_, EL_PREP_TERM, 1);  // before the prompt shows; libedit alone might do it after
  int count = 0;
  const wchar_t* text = el_wgets(editor_, &count);
  if (outcome_ == Outcome::line && (text == nullptr || count <= 0)) outcome_ = Outcome::end;
  if (outcome_ == Outcome::interrupted) {
    const LineInfoW* cleared = el_wline(editor_);
    line = to_utf8({cleared->buffer, static_cast<size_t>(cleared->lastchar - cleared->buffer)});
    std::fputs("^C", screen_);
  }
  if (outcome_ != Outcome::line) {
    std::fputs("\n", screen_);
    std::fflush(screen_);
    return outcome_;
  }
  line = to_utf8({text, static_cast<size_t>(count)});
  if (line.ends_with('\n')) line.pop_back();
  return outcome_;
}

wchar_t* LineEditor::on_prompt(EditLine* editor) { return of(editor).prompt_.data(); }

int LineEditor::on_read(EditLine* editor, wchar_t* c) { return of(editor).next_char(*c) ? 1 : 0; }

// Takes one character; false when Ctrl-C or the end came instead, which outcome_ then tells.
bool LineEditor::next_char(wchar_t& c) {
  while (true) {
    // A character may still be on its way: its lead byte tells how long it will be.
    const uint8_t lead = unread_.empty() ? 0 : static_cast<uint8_t>(unread_[0]);
    const size_t length = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
    bool broken = false;
    for (size_t i = 1; i < std::min(length, unread_.size()); ++i) broken |= !unicode::is_continuation(unread_[i]);
    if (!unread_.empty() && (broken || unread_.size() >= length)) {
      const unicode::Decoded decoded = unicode::decode(unread_, 0);
      c = static_cast<wchar_t>(decoded.code_point == unicode::kInvalid ? 0xFFFD : decoded.code_point);
      unread_.erase(0, decoded.length);
      return true;
    }
    if (!fill()) return false;
  }
}

bool LineEditor::fill() {
  pollfd polled[2] = {{STDIN_FILENO, POLLIN, 0}, {signals_.wake_fd(), POLLIN, 0}};
  if (poll(polled, 2, -1) < 0 && errno != EINTR) {
    outcome_ = Outcome::end;
    return false;
  }
  signals_.drain();
  if (signals_.is_ending()) {
    outcome_ = Outcome::end;
    return false;
  }
  if (signals_.take_interrupt()) {
    unread_.clear();
    outcome_ = Outcome::interrupted;
    return false;
  }
  if (signals_.take_redraw()) {  // another size, or back from Ctrl-Z
    el_wset(editor_, EL_PREP_TERM, 1);
    el_resize(editor_);
    el_wset(editor_, EL_REFRESH);
  }
  if ((polled[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) return true;
  char bytes[4096];
  const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof(bytes));
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (count <= 0) {
    outcome_ = Outcome::end;
    return false;
  }
  unread_.append(bytes, static_cast<size_t>(count));
  return true;
}

unsigned char LineEditor::on_paste(EditLine* editor, wint_t) {
  LineEditor& self = of(editor);
  std::wstring text;
  wchar_t c;
  bool too_long = false;
  while (!text.ends_with(kPasteEnd)) {
    if (!self.next_char(c)) return CC_EOF;
    text += c;
    if (text.size() <= kMaxPasteChars) continue;
    too_long = true;
    text.erase(0, text.size() - kPasteEnd.size());
  }
  text.resize(text.size() - kPasteEnd.size());
  if (too_long) return CC_ERROR;
  return el_winsertstr(editor, clean_paste(text).c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

unsigned char LineEditor::on_line_break(EditLine* editor, wint_t) {
  return el_winsertstr(editor, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
}

}  // namespace qwin
