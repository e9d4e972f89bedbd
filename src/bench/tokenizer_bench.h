// SPDX-License-Identifier: Apache-2.0
// How fast text becomes token ids, on one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace qwin {

struct TokenizerBenchResult {
  uint64_t bytes = 0, pieces = 0, tokens = 0;
  double pretokenize_mb_s = 0;  // 10^6 bytes a second: cutting the text into pieces alone; median of the rounds
  double encode_mb_s = 0;       // text to ids
  double encode_spread = 0;     // (fastest - slowest) / median
};

// Each round repeats short texts until a tenth of a second has passed. Requires: a text, rounds >= 1.
TokenizerBenchResult bench_tokenizer(const Tokenizer& tokenizer, std::string_view text, int rounds);

}  // namespace qwin
