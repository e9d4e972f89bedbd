// SPDX-License-Identifier: Apache-2.0
#include "cli/lost_pages.h"

#include <unistd.h>

#include <csignal>

namespace qwin {
namespace {

volatile std::sig_atomic_t code = 1;

extern "C" void report_lost_pages(int) {
  static constexpr char kMessage[] =
      "error: io: the model's file became shorter while it was in use, or a disk failed\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(code);
}

}  // namespace

void catch_lost_pages(int exit_code) {
  code = exit_code;
  struct sigaction action = {};
  action.sa_handler = report_lost_pages;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace qwin
