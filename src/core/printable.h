// SPDX-License-Identifier: Apache-2.0
// Text from files made fit for an error message: one line, no control bytes, bounded.
#pragma once

#include <string>
#include <string_view>

namespace qwin {

inline constexpr size_t kMaxPrintableBytes = 96;

// A name out of a file in single quotes; whatever is not printable ASCII becomes \xNN, and a long name is cut.
std::string printable(std::string_view text);

// A whole message on one line: control bytes become '?'. Other bytes, such as a path in UTF-8, stay.
std::string one_line(std::string_view message);

}  // namespace qwin
