// SPDX-License-Identifier: Apache-2.0
#include "eval/compare.h"

namespace qwin {

Reference measure_reference(Engine& engine, std::string_view text, int64_t piece, const EvalProgress& progress) {
  Reference reference;
  reference.token_ids = engine.tokenize(text, false);
  reference.piece = piece;
  reference.perplexity =
      measure_perplexity(engine, reference.token_ids, piece, progress,
                         [&](int64_t, std::span<const float> logits) { reference.rows.add(logits); });
  return reference;
}

Comparison compare(Engine& engine, std::string_view text, const Reference& reference, const EvalProgress& progress) {
  const std::vector<int32_t> token_ids = engine.tokenize(text, false);
  if (token_ids != reference.token_ids) {
    throw Error(ErrorCode::invalid_argument, "the two models cut the text into different tokens");
  }
  if (reference.rows.largest_id() >= int64_t{engine.info().vocab_size}) {
    throw Error(ErrorCode::invalid_argument, "the reference model has tokens that the other does not have");
  }
  DivergenceSums sums;
  size_t next = 0;
  const auto add = [&](int64_t position, std::span<const float> logits) {
    sums.add(reference.rows.row(next++), logits, position == 0);
  };
  Comparison comparison;
  comparison.perplexity = measure_perplexity(engine, token_ids, reference.piece, progress, add);
  comparison.divergence = sums.result();
  return comparison;
}

}  // namespace qwin
