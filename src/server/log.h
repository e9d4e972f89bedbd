// SPDX-License-Identifier: Apache-2.0
// One line of JSON an event on stderr. Never a prompt, an answer or a key.
#pragma once

#include <string>
#include <string_view>

#include "server/json.h"

namespace qwin::server {

enum class LogLevel { debug, info, warn };

// QWIN_LOG=debug|info|warn; info without.
bool log_enabled(LogLevel level);
// `more`: `,"key":value` pairs.
void write_log(LogLevel level, std::string_view event, std::string_view more = {});
// At most `max_bytes` of it, all else than printable ASCII as "?".
std::string printable_ascii(std::string_view text, size_t max_bytes);

}  // namespace qwin::server
