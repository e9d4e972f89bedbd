// SPDX-License-Identifier: Apache-2.0
// The tokens one draw may still choose from, narrowed step by step without sorting the vocabulary. The order that
// decides is always: higher logit first, at equal logits the lower id. Single-threaded; keeps its memory from draw to
// draw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qwin {

class Candidates {
 public:
  // All ids of logits [num_ids] that are not minus infinity. Requires: no NaN, no plus infinity.
  void load(std::span<const float> logits);

  // The k first of them, exactly. Requires: k >= 1.
  void load_top_k(std::span<const float> logits, size_t k);

  // Weights become exp((logit - highest) / temperature), 1 for the highest; needed by all below.
  void set_weights(double temperature);
  // Keeps a candidate when the share of the weight before it is below p: the fewest that reach p. Requires: p > 0.
  void keep_top_p(double p);
  // Keeps weights >= p (times the highest, 1).
  void keep_min_p(double p);

  // The id at the share `uniform` of the weight, in ascending order of ids. Requires: not empty, 0 <= uniform < 1.
  int32_t draw(double uniform) const;

  size_t size() const { return ids_.size(); }
  std::span<const int32_t> ids() const { return ids_; }         // [size], ascending
  std::span<const float> logits() const { return logits_; }     // [size]
  std::span<const double> weights() const { return weights_; }  // [size] after set_weights

 private:
  void load_at_least(std::span<const float> logits, float lowest, size_t begin, size_t end);
  void keep_top_k(size_t k);
  // The candidates whose weight before them is below the limit; `weight_at` is 1 for counting.
  template <typename WeightAt>
  void keep_before(double limit, double buckets_per_logit, WeightAt weight_at);
  template <typename Keep>
  void compact(Keep keep);

  float highest_ = 0;
  double temperature_ = 1;
  std::vector<float> logits_;
  std::vector<int32_t> ids_;
  std::vector<double> weights_;  // empty before set_weights
  std::vector<double> buckets_;  // weight by distance from the highest logit
  std::vector<float> maxima_;    // of blocks of logits, and a copy that is partly sorted
  std::vector<float> ordered_maxima_;
  std::vector<uint32_t> boundary_;  // indices in the bucket that the limit falls into
};

}  // namespace qwin
