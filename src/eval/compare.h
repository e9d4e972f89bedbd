// SPDX-License-Identifier: Apache-2.0
// A model beside a reference model on the same text. The two need not be in memory together.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "eval/divergence_sums.h"
#include "eval/perplexity.h"
#include "eval/reference_rows.h"

namespace qwin {

// What the reference model says of a text.
struct Reference {
  std::vector<int32_t> token_ids;
  int64_t piece = 0;
  Perplexity perplexity;
  ReferenceRows rows;  // one a token
};

struct Comparison {
  Perplexity perplexity;
  Divergence divergence;
};

// Pieces as measure_perplexity() has them; both throw as it does.
Reference measure_reference(Engine& engine, std::string_view text, int64_t piece, const EvalProgress& progress);
// Also throws Error(invalid_argument) when the model cuts the text into other tokens.
Comparison compare(Engine& engine, std::string_view text, const Reference& reference, const EvalProgress& progress);

}  // namespace qwin
