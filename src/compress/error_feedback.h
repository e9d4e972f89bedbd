// SPDX-License-Identifier: Apache-2.0
// GPTQ's error feedback (arXiv 2210.17323): what rounding a column loses is made good, as far as inputs go together, by
// the columns that are rounded after it. Symmetric matrices are kept as the tiles of 128 x 128 of their lower half.
#pragma once

#include <cstddef>
#include <vector>

#include "core/buffer.h"
#include "core/thread_team.h"
#include "kernels/cpu_kernels.h"

namespace qwin {

inline constexpr size_t kTile = 128;  // a span of columns, too

class ErrorFeedback {
 public:
  // Requires: columns are a multiple of 128.
  explicit ErrorFeedback(size_t columns);

  static size_t memory_bytes(size_t columns);

  // Adds x x^T for inputs as columns [columns, num_inputs] of `inputs`.
  void add(const CpuKernels& kernels, ThreadTeam& team, const float* inputs, size_t num_inputs);

  // From sum H = x x^T, whose diagonal is raised by 0.3 of its mean, to what is asked below: H = S^T S with S lower
  // triangular. Then the error e of a row of weights costs |S e|^2, of which column j alone decides term j once those
  // before it are fixed: e_j + sum k < j of e_k S_jk / S_jj should be small, and counts S_jj^2.
  void factorize(const CpuKernels& kernels, ThreadTeam& team);
  bool factorized() const { return factorized_; }

  // For weights whose columns are multiplied by `factors` [columns], so that inputs are divided by them. S's columns
  // are, too: what was added to the diagonal stays what it was for the weights as they are. Requires: factorized().
  void divide_inputs(const std::vector<float>& factors, ThreadTeam& team);

  size_t num_spans() const { return num_spans_; }
  // S_jk / S_jj for columns j of span `to` and k of span `from` < `to`: [128 j, 128 k].
  const float* between(size_t to, size_t from) const { return tile(to, from); }
  // The same within a span, the other way round: [128 k, 128 j], of which j > k count.
  const float* within(size_t span) const { return tile(span, span); }
  // S_jj^2 [columns].
  const float* importance() const { return importance_.data(); }

 private:
  float* tile(size_t row, size_t column) const {
    return tiles_.as<float>() + (row * (row + 1) / 2 + column) * kTile * kTile;
  }
  void raise_diagonal();
  void factorize_diagonal(float* s) const;
  void divide_rows(ThreadTeam& team);

  size_t num_spans_;
  Buffer tiles_;
  std::vector<float> importance_;
  float raised_ = 0;
  bool factorized_ = false;
};

}  // namespace qwin
