// SPDX-License-Identifier: Apache-2.0
// How the tokens of one request are chosen and when it ends. Names and meanings are those of the OpenAI API and of
// vLLM.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace qwin {

struct SamplingParams {
  float temperature = 0;         // 0 … 100; 0 takes the most probable token and none of top_k, top_p, min_p applies
  int top_k = 0;                 // keep the k most probable; 0 or -1: all
  float top_p = 1;               // (0, 1]: keep the fewest most probable tokens whose probabilities reach top_p
  float min_p = 0;               // 0 … 1: drop tokens below min_p times the highest probability
  float repetition_penalty = 1;  // 0.01 … 100: a token of prompt or output has its logit divided by it (times, if < 0)
  float presence_penalty = 0;    // -2 … 2: taken off the logit of a token of the output
  float frequency_penalty = 0;   // -2 … 2: the same, times the number of its occurrences
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // token id, -100 … 100 added to its logit; at most 300
  std::optional<uint64_t> seed = {};                       // the same seed gives the same tokens

  int max_tokens = std::numeric_limits<int>::max();  // ≥ 1; the context's end is the other bound
  int min_tokens = 0;                                // 0 … max_tokens; no end-of-text or stop token before
  std::vector<std::string> stop = {};                // at most 16, of 1 … 256 bytes; the text ends before the first
  std::vector<int32_t> stop_token_ids = {};
  bool ignore_eos = false;

  int logprobs = -1;  // -1: none; 0 … 20: of the chosen token and of that many most probable ones

  // Throws Error(invalid_argument); the detail begins with the parameter's name, then the allowed range.
  void validate() const;
  // The same for the token ids in logit_bias and stop_token_ids, which must be in 0 … vocab_size - 1.
  void validate_token_ids(uint32_t vocab_size) const;
};

}  // namespace qwin
