// SPDX-License-Identifier: Apache-2.0
// Ctrl-C during a download: the first one asks for a clean stop, the second one kills as usual.
#pragma once

#include <csignal>

namespace qwin {

// While one lives, SIGINT and SIGTERM only set a flag, and a file limit gives an error instead of SIGXFSZ.
// Process-wide; one at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction old_interrupt_, old_terminate_, old_file_size_;
};

bool is_interrupted();

// Throws Error(cancelled) once a signal has come.
void throw_if_interrupted();

}  // namespace qwin
