// SPDX-License-Identifier: Apache-2.0
// Penalties on tokens that a sequence already holds. Repetition looks at prompt and output (as transformers and vLLM
// do), presence and frequency at the output alone (as the OpenAI API and vLLM do).
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>

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
  // Ids that can never be sampled are passed over.
  bool matters(int32_t token_id) const;

  float repetition_;
  float presence_;
  float frequency_;
  uint32_t num_token_ids_;
  std::unordered_map<int32_t, uint32_t> counts_;  // token seen -> how often in the output; empty when all are neutral
};

}  // namespace qwin
