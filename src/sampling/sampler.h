// SPDX-License-Identifier: Apache-2.0
// Chooses the next token of one sequence. Owned by the sequence, single-threaded. What is as large as the vocabulary
// belongs to the thread, not to the sequence: thousands of them may wait for slow readers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qwin/sampling_params.h"
#include "sampling/logprobs.h"
#include "sampling/penalties.h"

namespace qwin {

class Sampler {
 public:
  // Ids >= num_token_ids are padding of the logits and never sampled. `default_seed` serves when params has none.
  // `eos_token_ids` and params.stop_token_ids are banned until min_tokens were accepted. Calls params.validate().
  Sampler(const SamplingParams& params, uint32_t num_token_ids, uint64_t default_seed,
          std::span<const int32_t> eos_token_ids = {});

  // What the sequence holds: the prompt (once, before sampling), then every token that became part of the output.
  void accept_prompt(std::span<const int32_t> token_ids) { penalties_.add_prompt(token_ids); }
  void accept(int32_t token_id);

  // The next token from logits [vocab_size], which are modified. Does not accept it: until accept() the same logits
  // give the same token. Throws Error(numerical) when a logit is not finite, Error(invalid_argument) when all are
  // banned.
  int32_t sample(std::span<float> logits);

  // Of the last sample(); meaningful when params.logprobs >= 0.
  const TokenLogprobs& logprobs() const { return logprobs_; }

 private:
  void adjust(std::span<float> logits) const;
  int32_t draw(std::span<const float> logits) const;
  // `sum`: the logarithm of the sum of exp(raw_logits).
  void keep_logprobs(std::span<const float> raw_logits, double sum, int32_t chosen);

  SamplingParams params_;
  uint32_t num_token_ids_;
  uint64_t seed_;
  uint64_t num_outputs_ = 0;            // also the counter of the random numbers
  std::vector<int32_t> end_token_ids_;  // banned until min_tokens
  Penalties penalties_;
  TokenLogprobs logprobs_;
};

}  // namespace qwin
