// SPDX-License-Identifier: Apache-2.0
#include "cli/repair_run.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "hub/subprocess.h"
#include "qwin/error.h"

namespace qwin {

void check_repair(const std::string& python) {
  const CommandResult result = run_command({python, "-c", "import torch, qwin.repair"}, {}, {});
  if (result.exit_status == 0) return;
  throw Error(ErrorCode::invalid_argument,
              "--repair runs `" + python + " -m qwin.repair`, which that Python does not have: it needs the packages qwin and "
              "torch (" + python + " -m pip install); --python names another one");
}

void start_repair(const std::string& python, const std::string& source, const std::string& file) {
  std::fflush(nullptr);
  execlp(python.c_str(), python.c_str(), "-m", "qwin.repair", source.c_str(), file.c_str(), file.c_str(), nullptr);
  throw Error(ErrorCode::io, python + " cannot be started: " + std::strerror(errno));
}

}  // namespace qwin
