// SPDX-License-Identifier: Apache-2.0
#include "cli/repair_run.h"

#include "hub/subprocess.h"
#include "qwin/error.h"

namespace qwin {

void check_repair(const std::string& python) {
  const CommandResult result = run_command({python, "-c", "import torch, qwin.repair"}, {}, {});
  if (result.exit_status == 0) return;
  throw Error(ErrorCode::invalid_argument,
              "--repair runs `" + python +
                  " -m qwin.repair`, which that Python does not have: it needs the packages qwin and "
                  "torch (" +
                  python + " -m pip install); --python names another one");
}

void run_repair(const std::string& python, const std::string& source, const std::string& file, const std::string& out) {
  const CommandResult result = run_command({python, "-m", "qwin.repair", source, file, out}, {}, {}, true);
  if (result.exit_status == 0) return;
  throw Error(ErrorCode::io, "`" + python + " -m qwin.repair` failed with status " +
                                 std::to_string(result.exit_status) + "; what is not repaired is in " + file +
                                 ", and the same command goes on from there");
}

}  // namespace qwin
