// SPDX-License-Identifier: Apache-2.0
#include "eval/divergence_sums.h"

#include <algorithm>
#include <cmath>

#include "qwin/error.h"
#include "sampling/logprobs.h"

namespace qwin {
namespace {

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

}  // namespace

void DivergenceSums::add(const ReferenceRow& row, std::span<const float> logits, bool first) {
  if (!all_finite(logits)) throw Error(ErrorCode::numerical, "a logit is not finite");
  const double lse = log_sum_exp(logits);
  double kl = 0, p_rest = 1, q_rest = 1;
  for (size_t i = 0; i < row.count; ++i) {
    const double tested = logits[static_cast<size_t>(row.ids[i])];
    const double log_p = row.logits[i] - row.lse, log_q = tested - lse;
    kl += std::exp(log_p) * (log_p - log_q);
    p_rest -= std::exp(log_p);
    q_rest -= std::exp(log_q);
    squared_error_ += (tested - row.logits[i]) * (tested - row.logits[i]);
    squares_ += row.logits[i] * row.logits[i];
  }
  if (p_rest > 0 && q_rest > 0) kl += p_rest * std::log(p_rest / q_rest);
  kl_.push_back(kl);
  if (first) first_kl_.push_back(kl);
  const auto best = std::ranges::max_element(logits) - logits.begin();
  agreements_ += best == static_cast<int64_t>(row.ids[0]);
}

Divergence DivergenceSums::result() {
  Divergence d;
  d.positions = static_cast<int64_t>(kl_.size());
  if (kl_.empty()) return d;
  d.mean_kl = mean(kl_);
  d.first_kl = mean(first_kl_);
  d.top1 = static_cast<double>(agreements_) / static_cast<double>(kl_.size());
  d.nmse = squared_error_ / squares_;
  std::ranges::sort(kl_);
  d.kl_p999 = kl_[std::min(kl_.size() - 1, static_cast<size_t>(std::ceil(0.999 * static_cast<double>(kl_.size()))))];
  return d;
}

}  // namespace qwin
