// SPDX-License-Identifier: Apache-2.0
#include "eval/reference_rows.h"

#include <algorithm>
#include <numeric>

#include "sampling/logprobs.h"

namespace qwin {

void ReferenceRows::add(std::span<const float> logits) {
  count_ = std::min(kKeptIds, logits.size());
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto kept = order_.begin() + static_cast<ptrdiff_t>(count_);
  std::partial_sort(order_.begin(), kept, order_.end(), [&](int32_t a, int32_t b) {
    const float u = logits[static_cast<size_t>(a)], v = logits[static_cast<size_t>(b)];
    return u > v || (u == v && a < b);
  });
  for (auto id = order_.begin(); id != kept; ++id) {
    ids_.push_back(*id);
    logits_.push_back(logits[static_cast<size_t>(*id)]);
    largest_id_ = std::max<int64_t>(largest_id_, *id);
  }
  lse_.push_back(log_sum_exp(logits));
}

ReferenceRow ReferenceRows::row(size_t position) const {
  return {&ids_[position * count_], &logits_[position * count_], count_, lse_[position]};
}

}  // namespace qwin
