// SPDX-License-Identifier: Apache-2.0
// The signals of a chat: Ctrl-C asks for a stop, SIGTERM and SIGHUP for the end, the others redraw the line.
#pragma once

#include <csignal>
#include <iterator>

namespace qwin {

// While one lives, the signals only set flags and wake whoever polls wake_fd(), whichever thread they reach.
// Process-wide; one at a time.
class TerminalSignals {
 public:
  TerminalSignals();
  // Restores the old handlers. A SIGTERM or SIGHUP that came is raised again, so that the process ends by it.
  ~TerminalSignals();
  TerminalSignals(const TerminalSignals&) = delete;
  TerminalSignals& operator=(const TerminalSignals&) = delete;

  // Readable once a signal has come; drain() empties it.
  int wake_fd() const;
  void drain() const;

  // Each tells whether the signal has come since it was last asked.
  bool take_interrupt();
  bool take_redraw();
  // True from the first SIGTERM or SIGHUP on.
  bool is_ending() const;
  // True when an answer should stop: Ctrl-C (not yet taken) or the end.
  bool is_stop_wanted() const;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT};
  struct sigaction old_actions_[std::size(kSignals)];
};

}  // namespace qwin
