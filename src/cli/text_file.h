// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace qwin {

// All of a UTF-8 file. Throws Error: io, or invalid_argument where it is no UTF-8.
std::string read_text(const std::string& path);

}  // namespace qwin
