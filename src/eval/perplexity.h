// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "eval/divergence.h"
#include "qwin/engine.h"

namespace qwin {

struct Perplexity {
  int64_t tokens = 0;  // predicted ones
  double perplexity = 0;
};

// exp of the mean negative log probability of each token given those before it. The text is cut into pieces of `piece`
// tokens that are read each for itself; a piece's first token is not predicted. Throws Error(invalid_argument) below 2
// tokens. `on_logits` sees every position of every piece.
Perplexity measure_perplexity(Engine& engine, std::span<const int32_t> token_ids, int64_t piece,
                              const EvalProgress& progress, const OnLogits& on_logits = {});

}  // namespace qwin
