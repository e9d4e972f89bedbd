// SPDX-License-Identifier: Apache-2.0
#include "eval/compare.h"

#include <algorithm>
#include <numeric>

#include "sampling/logprobs.h"

namespace qwin {
namespace {

constexpr size_t kKeptIds = 256;  // what is left to the bucket of all others does not show in a mean KL's third digit

}  // namespace

Reference measure_reference(Engine& engine, std::string_view text, int64_t piece, const EvalProgress& progress) {
  Reference reference;
  reference.token_ids = engine.tokenize(text, false);
  reference.piece = piece;
  reference.count = std::min(kKeptIds, static_cast<size_t>(engine.info().vocab_size));
  std::vector<int32_t> order;
  const auto keep = [&](int64_t, std::span<const float> logits) {
    order.resize(logits.size());
    std::iota(order.begin(), order.end(), 0);
    const auto kept = order.begin() + static_cast<ptrdiff_t>(reference.count);
    std::partial_sort(order.begin(), kept, order.end(), [&](int32_t a, int32_t b) {
      const float u = logits[static_cast<size_t>(a)], v = logits[static_cast<size_t>(b)];
      return u > v || (u == v && a < b);
    });
    for (auto id = order.begin(); id != kept; ++id) {
      reference.ids.push_back(*id);
      reference.logits.push_back(logits[static_cast<size_t>(*id)]);
    }
    reference.lse.push_back(log_sum_exp(logits));
  };
  reference.perplexity = measure_perplexity(engine, reference.token_ids, piece, progress, keep);
  return reference;
}

Comparison compare(Engine& engine, std::string_view text, const Reference& reference, const EvalProgress& progress) {
  const std::vector<int32_t> token_ids = engine.tokenize(text, false);
  if (token_ids != reference.token_ids) {
    throw Error(ErrorCode::invalid_argument, "the two models cut the text into different tokens");
  }
  const auto vocab_size = static_cast<double>(engine.info().vocab_size);
  if (std::ranges::any_of(reference.ids, [&](double id) { return id >= vocab_size; })) {
    throw Error(ErrorCode::invalid_argument, "the reference model has tokens that the other does not have");
  }
  DivergenceSums sums;
  size_t next = 0;
  const auto add = [&](int64_t position, std::span<const float> logits) {
    const size_t at = next * reference.count;
    sums.add({&reference.ids[at], &reference.logits[at], reference.count, reference.lse[next]}, logits, position == 0);
    ++next;
  };
  Comparison comparison;
  comparison.perplexity = measure_perplexity(engine, token_ids, reference.piece, progress, add);
  comparison.divergence = sums.result();
  return comparison;
}

}  // namespace qwin
