// SPDX-License-Identifier: Apache-2.0
// What a reference model says at each position of its texts, as far as a divergence from it needs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/divergence_sums.h"

namespace qwin {

class ReferenceRows {
 public:
  // Keeps the most probable ids; what is left to the bucket of all others does not show in a mean KL's third digit.
  static constexpr size_t kKeptIds = 256;

  // The next position's logits. Requires: as many as the others'.
  void add(std::span<const float> logits);

  size_t size() const { return lse_.size(); }
  ReferenceRow row(size_t position) const;
  int64_t largest_id() const { return largest_id_; }

 private:
  size_t count_ = 0;  // ids kept a position
  int64_t largest_id_ = -1;
  std::vector<double> ids_, logits_;  // [positions, count] from the most probable down
  std::vector<double> lse_;           // [positions] of all logits
  std::vector<int32_t> order_;        // reused
};

}  // namespace qwin
