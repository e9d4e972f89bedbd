// SPDX-License-Identifier: Apache-2.0
// Unicode normalization form C, with the (old) data of the Hugging Face tokenizers library.
#pragma once

#include <string>
#include <string_view>

namespace qwin {

// True when normalization cannot change `text`, found by a look at each character; false says nothing.
bool is_surely_nfc(std::string_view text);

std::string to_nfc(std::string_view text);

}  // namespace qwin
