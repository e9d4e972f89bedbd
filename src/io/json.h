// SPDX-License-Identifier: Apache-2.0
// JSON of model files and messages: its faults are Errors.
#pragma once

#include <string_view>

#include "core/json.h"
#include "qwin/error.h"

namespace qwin {

inline constexpr int kMaxJsonDepth = 64;

// Throws Error(code) naming `what` when read_json() finds a fault in `text`.
Json parse_json(std::string_view text, const char* what, ErrorCode code);

}  // namespace qwin
