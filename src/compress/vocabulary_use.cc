// SPDX-License-Identifier: Apache-2.0
#include "compress/vocabulary_use.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sampling/logprobs.h"

namespace qwin {
namespace {

// Of equal ones the lower ids: merges that were learned earlier, which are the more frequent ones.
std::vector<int32_t> largest(const std::vector<float>& values, size_t n) {
  std::vector<int32_t> ids(values.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::ranges::stable_sort(ids, std::greater<>(), [&](int32_t id) { return values[static_cast<size_t>(id)]; });
  ids.resize(n);
  return ids;
}

double sum_of(const std::vector<float>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

double share_of(const std::vector<int32_t>& ids, const std::vector<float>& values) {
  double sum = 0;
  for (const int32_t id : ids) sum += values[static_cast<size_t>(id)];
  return sum / sum_of(values);
}

}  // namespace

VocabularyUse::VocabularyUse(size_t vocab_size) {
  for (std::vector<float>& uses : uses_) uses.assign(vocab_size, 0.0f);
}

void VocabularyUse::add_logits(std::span<const float> logits) {
  const auto lse = static_cast<float>(log_sum_exp(logits));
  std::vector<float>& uses = uses_[half_];
  for (size_t id = 0; id < logits.size(); ++id) {
    const float p = std::exp(logits[id] - lse);
    uses[id] += p * (1 - p);
  }
}

std::vector<int32_t> VocabularyUse::most_used(size_t n) const {
  std::vector<float> uses = uses_[0];
  for (size_t id = 0; id < uses.size(); ++id) uses[id] += uses_[1][id];
  std::vector<int32_t> ids = largest(uses, n);
  std::ranges::sort(ids);
  return ids;
}

double VocabularyUse::expected_share(size_t n) const {
  if (sum_of(uses_[0]) == 0 || sum_of(uses_[1]) == 0) return 0;
  return (share_of(largest(uses_[0], n), uses_[1]) + share_of(largest(uses_[1], n), uses_[0])) / 2;
}

}  // namespace qwin
