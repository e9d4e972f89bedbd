// SPDX-License-Identifier: Apache-2.0
// JSON of requests and responses.
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"

namespace qwin::server {

// Parses a request body in linear time. Throws HttpError: 400 json_too_deep, or 400 when the text is no JSON in UTF-8
// or has a key twice.
Json parse_body(std::string_view text, int64_t max_depth);

// Appends `text`, valid UTF-8, as a JSON string with its quotes: the token path builds no documents.
void append_json_string(std::string& out, std::string_view text);

// At most `max_bytes` of `text`, cut between characters.
std::string_view cut_utf8(std::string_view text, size_t max_bytes);

}  // namespace qwin::server
