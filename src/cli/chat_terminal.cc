// SPDX-License-Identifier: Apache-2.0
#include "cli/run.h"

namespace qwin {

void chat_in_terminal(Engine&, const RunOptions&) { throw Error(ErrorCode::invalid_argument, "no prompt given"); }

}  // namespace qwin
