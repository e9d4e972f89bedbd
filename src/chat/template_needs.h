// SPDX-License-Identifier: Apache-2.0
// What a template expects where clients differ, read off its syntax tree.
#pragma once

#include "chat/jinja/ast.h"

namespace qwin {

struct TemplateNeeds {
  // How it takes a tool call's arguments, which clients send as an object or as a string of JSON.
  enum class Arguments { as_given, object, text };
  Arguments arguments = Arguments::as_given;
  // It asks whether a content is none (DeepSeek-R1 does); else nulls are dropped, as transformers does.
  bool null_content = false;
};

TemplateNeeds find_template_needs(const jinja::Ast& ast);

}  // namespace qwin
