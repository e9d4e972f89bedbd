// SPDX-License-Identifier: Apache-2.0
#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "sampling/logprobs.h"

namespace qwin {

namespace {

double negative_log_probability(std::span<const float> logits, int32_t token_id) {
  if (!all_finite(logits)) throw Error(ErrorCode::numerical, "a logit is not finite");
  return log_sum_exp(logits) - logits[static_cast<size_t>(token_id)];
}

}  // namespace

Perplexity measure_perplexity(Engine& engine, std::span<const int32_t> token_ids, int64_t piece,
                              const EvalProgress& progress, const OnLogits& on_logits) {
  if (token_ids.size() < 2)
    throw Error(ErrorCode::invalid_argument, "a text of at least 2 tokens is needed for perplexity");
  Perplexity result;
  double sum = 0;
  const auto total = static_cast<int64_t>(token_ids.size());
  for (int64_t begin = 0; begin + 1 < total; begin += piece) {
    const auto part =
        token_ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(std::min(piece, total - begin)));
    engine.prompt_logits(part, [&](int64_t position, std::span<const float> logits) {
      if (position + 1 < static_cast<int64_t>(part.size())) {
        sum += negative_log_probability(logits, part[static_cast<size_t>(position) + 1]);
        ++result.tokens;
      }
      if (on_logits) on_logits(position, logits);
      if (progress) progress(begin + position + 1, total);
    });
  }
  result.perplexity = std::exp(sum / static_cast<double>(result.tokens));
  return result;
}

}  // namespace qwin
