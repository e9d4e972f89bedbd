// SPDX-License-Identifier: Apache-2.0
// The two tables of filters, for each other.
#pragma once

#include <span>
#include <string_view>

#include "chat/jinja/ast.h"
#include "chat/jinja/builtins.h"
#include "chat/jinja/interpreter.h"

namespace qwin::jinja {

struct NamedFilter {
  std::string_view name;
  Value (*function)(Context&, const Value&, const Args&);
};

std::span<const NamedFilter> sequence_filters();

}  // namespace qwin::jinja
