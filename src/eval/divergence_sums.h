// SPDX-License-Identifier: Apache-2.0
// Sums of how far distributions are from reference ones, position by position.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qwin {

struct Divergence {
  int64_t positions = 0;
  double mean_kl = 0;   // nats
  double kl_p999 = 0;   // 99.9 % of the positions lie at or below
  double top1 = 0;      // share of positions with the same most probable token, 0 … 1
  double first_kl = 0;  // mean over the first position of each text, where massive activations are
  double nmse = 0;      // of the stored logits: sum (q - p)^2 / sum p^2
};

// One position of the reference: its best ids with raw logits, and the log-sum-exp of all.
struct ReferenceRow {
  const double* ids;     // [count], the most probable first
  const double* logits;  // [count]
  size_t count;
  double lse;
};

class DivergenceSums {
 public:
  // `first`: the first position of a text. KL is p log(p / q) over the row's ids plus one bucket for all others. Throws
  // Error(numerical). Requires: ids within the vocabulary.
  void add(const ReferenceRow& row, std::span<const float> logits, bool first);
  Divergence result();

 private:
  std::vector<double> kl_, first_kl_;
  int64_t agreements_ = 0;
  double squared_error_ = 0, squares_ = 0;
};

}  // namespace qwin
