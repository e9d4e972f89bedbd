// SPDX-License-Identifier: Apache-2.0
// JSON documents with keys in file order. Depth is bounded because nested documents are walked recursively.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "qwin/error.h"

namespace qwin {

using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 64;

// Parses `text` in linear time. Throws Error(code) naming `what` when the text is no JSON in UTF-8, is nested deeper
// than kMaxJsonDepth or has a key twice. Look-ups in an object are linear: walk large ones with items().
Json parse_json(std::string_view text, const char* what, ErrorCode code);

}  // namespace qwin
