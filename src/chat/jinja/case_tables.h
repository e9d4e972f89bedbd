// SPDX-License-Identifier: Apache-2.0
// Upper, lower and title case of one character, as Python's str methods have them. The rule that gives a Greek word its
// final sigma looks at neighbours and is left out.
#pragma once

#include <string>

namespace qwin::jinja {

enum class Case { upper, lower, title };

void append_cased(std::string& out, char32_t c, Case to);
// True after characters that str.title() continues in lower case.
bool has_case(char32_t c);

}  // namespace qwin::jinja
