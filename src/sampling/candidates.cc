// SPDX-License-Identifier: Apache-2.0
#include "sampling/candidates.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "sampling/exp.h"
#include "sampling/float_order.h"

namespace qwin {
namespace {

// 32 buckets for each factor e: the one the limit falls into holds few of 151,936 tokens. The last takes all the rest.
constexpr int kNumBuckets = 1024;
constexpr double kBucketsPerUnit = 32;
constexpr size_t kBlockSize = 64;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

}  // namespace

void Candidates::load(std::span<const float> logits) {
  logits_.resize(logits.size());
  ids_.resize(logits.size());
  weights_.clear();
  size_t n = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    logits_[n] = logits[i];
    ids_[n] = static_cast<int32_t>(i);
    n += logits[i] > kLowest;
  }
  logits_.resize(n);
  ids_.resize(n);
  highest_ = n > 0 ? highest_of(logits_) : kLowest;
}

void Candidates::load_at_least(std::span<const float> logits, float lowest, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    if (logits[i] < lowest || logits[i] == kLowest) continue;
    logits_.push_back(logits[i]);
    ids_.push_back(static_cast<int32_t>(i));
  }
}

// The k-th highest of the blocks' maxima is a bound that at least k logits reach, and few more than k do: all but their
// blocks are passed over.
void Candidates::load_top_k(std::span<const float> logits, size_t k) {
  const size_t num_blocks = logits.size() / kBlockSize;
  if (2 * k > num_blocks) {
    load(logits);
    return keep_top_k(k);
  }
  maxima_.resize(num_blocks);
  for (size_t b = 0; b < num_blocks; ++b) maxima_[b] = highest_of(logits.subspan(b * kBlockSize, kBlockSize));
  ordered_maxima_ = maxima_;
  const auto kth = ordered_maxima_.begin() + static_cast<ptrdiff_t>(k - 1);
  std::nth_element(ordered_maxima_.begin(), kth, ordered_maxima_.end(), std::greater<>());
  const float lowest = *kth;

  logits_.clear();
  ids_.clear();
  weights_.clear();
  for (size_t b = 0; b < num_blocks; ++b) {
    if (maxima_[b] >= lowest) load_at_least(logits, lowest, b * kBlockSize, (b + 1) * kBlockSize);
  }
  load_at_least(logits, lowest, num_blocks * kBlockSize, logits.size());
  highest_ = logits_.empty() ? kLowest : highest_of(logits_);
  keep_top_k(k);
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
  for (size_t i = 0; i < ids_.size(); ++i) {
    sum += weights_[i];
    if (sum > target) return ids_[i];
  }
  return ids_.back();
}

}  // namespace qwin
