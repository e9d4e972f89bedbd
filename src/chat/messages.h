// SPDX-License-Identifier: Apache-2.0
// What a conversation must look like before a template sees it.
#pragma once

#include "io/json.h"

namespace qwin {

// `messages` is a list of objects with a known role (system, developer, user, assistant, tool) and a content: a string,
// or a list of {"type": "text", "text": …} parts; null or absent only for an assistant that calls tools. Throws
// Error(invalid_argument) naming the message and what is wrong with it.
void validate_messages(const Json& messages);

// `tools` is null or a list of objects.
void validate_tools(const Json& tools);

}  // namespace qwin
