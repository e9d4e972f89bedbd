// SPDX-License-Identifier: Apache-2.0
// Cuts a template's source into tokens, with jinja2's white space rules under trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qwin::jinja {

inline constexpr size_t kMaxTemplateBytes = size_t{256} << 10;

enum class TokenKind : uint8_t {
  data,
  block_begin,
  block_end,
  variable_begin,
  variable_end,
  name,
  string,
  integer,
  real,
  op,
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 1;
  std::string text;  // data, name, op; string: unescaped; numbers: digits without '_'
};

// Throws Error(bad_template) with the line.
std::vector<Token> tokenize(std::string_view source);

[[noreturn]] void template_fault(int line, const std::string& what);

}  // namespace qwin::jinja
