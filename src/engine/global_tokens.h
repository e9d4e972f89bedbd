// SPDX-License-Identifier: Apache-2.0
// The tokens of a prompt that every later one is to see, found in it.
#pragma once

#include <span>
#include <vector>

#include "qwin/request.h"
#include "tokenizer/tokenizer.h"

namespace qwin {

// What is asked for as spans in order, none touching the next. Throws Error(invalid_argument) for what is not there.
std::vector<TokenSpan> find_global_spans(const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                                         const GlobalTokens& global);

// The pieces of 16 tokens that the spans touch: position / 16, in order.
std::vector<int32_t> global_parts(std::span<const TokenSpan> spans);

}  // namespace qwin
