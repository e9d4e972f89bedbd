// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal_signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "qwin/error.h"

namespace qwin {

namespace {

// Lock-free atomics and write() are all that a handler may touch.
std::atomic<int> interrupted{0}, ending_signal{0}, redraw{0};
static_assert(std::atomic<int>::is_always_lock_free);
int wake_pipe[2] = {-1, -1};

void on_signal(int signal) {
  const int saved_errno = errno;
  if (signal == SIGINT) {
    interrupted = 1;
  } else if (signal == SIGTERM || signal == SIGHUP) {
    ending_signal = signal;
  } else {
    redraw = 1;
  }
  // A full pipe is readable already.
  [[maybe_unused]] const ssize_t written = write(wake_pipe[1], "", 1);
  errno = saved_errno;
}

}  // namespace

TerminalSignals::TerminalSignals() {
  if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
    throw Error(ErrorCode::io, std::string("no pipe for signals: ") + std::strerror(errno));
  interrupted = ending_signal = redraw = 0;
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &old_actions_[i]);
}

TerminalSignals::~TerminalSignals() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_actions_[i], nullptr);
  close(wake_pipe[0]);
  close(wake_pipe[1]);
  if (const int signal = ending_signal.exchange(0)) raise(signal);
}

int TerminalSignals::wake_fd() const { return wake_pipe[0]; }

void TerminalSignals::drain() const {
  char bytes[64];
  while (read(wake_pipe[0], bytes, sizeof(bytes)) > 0) {
  }
}

bool TerminalSignals::take_interrupt() { return interrupted.exchange(0) != 0; }
bool TerminalSignals::take_redraw() { return redraw.exchange(0) != 0; }
bool TerminalSignals::is_ending() const { return ending_signal != 0; }
bool TerminalSignals::is_stop_wanted() const { return interrupted != 0 || is_ending(); }

}  // namespace qwin
