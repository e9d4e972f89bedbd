// SPDX-License-Identifier: Apache-2.0
// Messages as the template's values, brought into the form transformers would hand over.
#pragma once

#include <deque>

#include "chat/jinja/value.h"
#include "chat/template_needs.h"

namespace qwin {

// Keeps the parsed arguments of tool calls alive: the values borrow their strings.
using ParsedArguments = std::deque<Json>;

// `messages` must have passed validate_messages and, with `parsed`, outlive the value.
jinja::Value messages_value(const Json& messages, const TemplateNeeds& needs, ParsedArguments& parsed,
                            jinja::Budget& budget);

}  // namespace qwin
