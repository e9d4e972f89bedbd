// SPDX-License-Identifier: Apache-2.0
#include "sampling/candidates.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "sampling/exp.h"

namespace qwin {
namespace {

// 32 buckets for each factor e: the one the limit falls into holds few of 151,936 tokens. The last takes all the rest.
constexpr int kNumBuckets = 1024;
constexpr double kBucketsPerUnit = 32;

}  // namespace

void Candidates::load(std::span<const float> logits) {
  logits_.resize(logits.size());
  ids_.resize(logits.size());
  weights_.clear();
  highest_ = -std::numeric_limits<float>::infinity();
  size_t n = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    logits_[n] = logits[i];
    ids_[n] = static_cast<int32_t>(i);
    n += logits[i] > -std::numeric_limits<float>::infinity();
    highest_ = logits[i] > highest_ ? logits[i] : highest_;
  }
  logits_.resize(n);
  ids_.resize(n);
}

template <typename Keep>
void Candidates::compact(Keep keep) {
  size_t n = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (!keep(i)) continue;
    logits_[n] = logits_[i];
    ids_[n] = ids_[i];
    if (!weights_.empty()) weights_[n] = weights_[i];
    ++n;
  }
  logits_.resize(n);
  ids_.resize(n);
  if (!weights_.empty()) weights_.resize(n);
}

template <typename WeightAt>
void Candidates::keep_before(double limit, double buckets_per_logit, WeightAt weight_at) {
  const auto bucket_of = [&](size_t i) {
    const double distance = (static_cast<double>(highest_) - logits_[i]) * buckets_per_logit;
    return static_cast<int>(std::min<double>(distance, kNumBuckets - 1));
  };
  buckets_.assign(kNumBuckets, 0.0);
  for (size_t i = 0; i < ids_.size(); ++i) buckets_[bucket_of(i)] += weight_at(i);

  double before = 0;
  int boundary = 0;
  while (boundary < kNumBuckets && before + buckets_[boundary] < limit) before += buckets_[boundary++];
  if (boundary == kNumBuckets) return;

  boundary_.clear();
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (bucket_of(i) == boundary) boundary_.push_back(static_cast<uint32_t>(i));
  }
  std::sort(boundary_.begin(), boundary_.end(),
            [this](uint32_t a, uint32_t b) { return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b; });
  size_t kept = 0;
  while (kept < boundary_.size() && before < limit) before += weight_at(boundary_[kept++]);
  const size_t last = boundary_[kept - 1];
  const float lowest = logits_[last];
  compact([&](size_t i) { return logits_[i] > lowest || (logits_[i] == lowest && i <= last); });
}

void Candidates::keep_top_k(size_t k) {
  if (k >= ids_.size()) return;
  keep_before(static_cast<double>(k), kBucketsPerUnit, [](size_t) { return 1.0; });
}

void Candidates::set_weights(double temperature) {
  temperature_ = temperature;
  weights_.resize(ids_.size());
  const double highest = highest_;
  const double inverse = 1.0 / temperature;
  for (size_t i = 0; i < ids_.size(); ++i) weights_[i] = exp_nonpositive((logits_[i] - highest) * inverse);
}

void Candidates::keep_top_p(double p) {
  if (p >= 1) return;
  const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  keep_before(p * total, kBucketsPerUnit / temperature_, [this](size_t i) { return weights_[i]; });
}

void Candidates::keep_min_p(double p) {
  if (p <= 0) return;
  compact([&](size_t i) { return weights_[i] >= p; });
}

int32_t Candidates::draw(double uniform) const {
  const double target = uniform * std::accumulate(weights_.begin(), weights_.end(), 0.0);
  double sum = 0;
  int32_t last = ids_.front();
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (weights_[i] <= 0) continue;
    sum += weights_[i];
    last = ids_[i];
    if (sum > target) break;
  }
  return last;
}

}  // namespace qwin
