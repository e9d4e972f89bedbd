// SPDX-License-Identifier: Apache-2.0
// Log probabilities of the model itself: from its logits as they are, before penalties, bias and temperature.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sampling/candidates.h"

namespace qwin {

struct TokenLogprob {
  int32_t token_id;
  float logprob;
};

struct TokenLogprobs {
  TokenLogprob chosen = {};
  std::vector<TokenLogprob> top;  // best first, at equal logits the lower id first
};

bool all_finite(std::span<const float> logits);

// log(sum(exp(logits))) in float64. Requires: at least one, all finite.
double log_sum_exp(std::span<const float> logits);

// The ids of the k highest logits (or all), best first, at equal logits the lower id first. `scratch` only saves
// memory.
void top_ids(std::span<const float> logits, size_t k, Candidates* scratch, std::vector<int32_t>* ids);

}  // namespace qwin
