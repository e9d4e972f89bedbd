// SPDX-License-Identifier: Apache-2.0
// Where sentences end, in Chinese and in English.
#pragma once

#include <string_view>
#include <vector>

namespace qwin {

// Ends of the sentences of a text, in bytes and in order; the last one is the text's own. A sentence ends with its
// mark, the quotes and brackets that close behind it and the space after it, or with its paragraph, or before a heading
// or an item of a list. Lines broken for their length alone do not end it.
std::vector<size_t> sentence_ends(std::string_view text);

// True when most letters of a text are Chinese characters.
bool is_mostly_chinese(std::string_view text);

}  // namespace qwin
