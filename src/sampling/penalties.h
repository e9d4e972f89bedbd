// SPDX-License-Identifier: Apache-2.0
// Penalties on tokens that a sequence already holds. Repetition looks at prompt and output (as transformers and vLLM
// do), presence and frequency at the output alone (as the OpenAI API and vLLM do).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qwin {

struct SamplingParams;

class Penalties {
 public:
  Penalties(const SamplingParams& params, uint32_t num_token_ids);

  void add_prompt(std::span<const int32_t> token_ids);
  void add_output(int32_t token_id);

  // Changes the logits of the tokens seen, repetition first. Results stay finite.
  void apply(std::span<float> logits) const;

 private:
  // Counts the token as seen; ids that can never be sampled are passed over. Returns nullptr for those.
  uint32_t* find_count(int32_t token_id);

  float repetition_;
  float presence_;
  float frequency_;
  uint32_t num_token_ids_;
  std::vector<uint32_t> counts_;   // [num_token_ids], kUnseen or occurrences in the output; empty when all are neutral
  std::vector<int32_t> seen_ids_;  // those with a count, in order of appearance
};

}  // namespace qwin
