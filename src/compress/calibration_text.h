// SPDX-License-Identifier: Apache-2.0
// The text that calibration reads when no other is given: chats, code, Chinese and English.
#pragma once

#include <string_view>

namespace qwin {

// Some 10,000 tokens, UTF-8: calibration_text.txt, which tools/make_calibration_text.py wrote.
std::string_view builtin_calibration_text();

}  // namespace qwin
