// SPDX-License-Identifier: Apache-2.0
// Runs a program without a shell and waits for it.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace qwin {

struct CommandResult {
  int exit_status = 0;  // 127 when the program could not be started, 128 + signal when one ended it
  std::string errors;   // the last 8 KiB of its stderr
};

// stdin and stdout are /dev/null; `environment` holds NAME=VALUE on top of ours. `tick` runs about ten times a second.
// With `shows_errors` stderr goes to ours too, as it comes. On Ctrl-C the program is ended and Error(cancelled) thrown.
CommandResult run_command(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                          const std::function<void()>& tick, bool shows_errors = false);

}  // namespace qwin
