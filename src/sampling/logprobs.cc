// SPDX-License-Identifier: Apache-2.0
#include "sampling/logprobs.h"

#include <algorithm>
#include <cmath>

#include "sampling/exp.h"
#include "sampling/float_order.h"

namespace qwin {

// All bits but the sign of the largest magnitude: an integer maximum vectorizes, comparing floats with NaN would not.
bool all_finite(std::span<const float> x) {
  uint32_t largest = 0;
  for (float v : x) largest = std::max(largest, std::bit_cast<uint32_t>(v) & 0x7fffffffu);
  return largest < 0x7f800000u;
}

double log_sum_exp(std::span<const float> logits) {
  const double highest = highest_of(logits);
  // Eight sums, whose order never changes: the additions overlap and the result is always the same.
  constexpr size_t kLanes = 8;
  double sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += exp_nonpositive(logits[i + lane] - highest);
  }
  for (; i < logits.size(); ++i) sums[i % kLanes] += exp_nonpositive(logits[i] - highest);
  double sum = 0;
  for (double s : sums) sum += s;
  return highest + std::log(sum);
}

void top_ids(std::span<const float> logits, size_t k, Candidates* scratch, std::vector<int32_t>* ids) {
  ids->clear();
  if (k == 0) return;
  scratch->load_top_k(logits, k);
  ids->assign(scratch->ids().begin(), scratch->ids().end());
  std::sort(ids->begin(), ids->end(),
            [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
}

}  // namespace qwin
