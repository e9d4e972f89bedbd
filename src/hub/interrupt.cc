// SPDX-License-Identifier: Apache-2.0
#include "hub/interrupt.h"

#include "qwin/error.h"

namespace qwin {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void on_signal(int) { interrupted = 1; }

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted = 0;
  struct sigaction stop{};
  stop.sa_handler = on_signal;
  stop.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&stop.sa_mask);
  sigaction(SIGINT, &stop, &old_interrupt_);
  sigaction(SIGTERM, &stop, &old_terminate_);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &ignore, &old_file_size_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
  sigaction(SIGXFSZ, &old_file_size_, nullptr);
}

bool is_interrupted() { return interrupted != 0; }

void throw_if_interrupted() {
  if (is_interrupted()) throw Error(ErrorCode::cancelled, "stopped; the same command goes on where this one ended");
}

}  // namespace qwin
