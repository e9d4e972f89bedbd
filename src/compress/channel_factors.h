// SPDX-License-Identifier: Apache-2.0
// Factors of the channels between two matrices, which leave what a model computes as it is: what makes a channel
// divides by its factor, what reads it multiplies. Columns of a group share a scale, so a group loses least when none
// of its columns is so large that the others are rounded coarsely, or counts so much more than they (AWQ, arXiv
// 2306.00978, searches such factors; with error feedback they have a closed form).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "compress/error_feedback.h"
#include "io/model_files.h"

namespace qwin {

// What a tensor's weights are multiplied by before they are quantized. Empty: not at all. A vector's values are rows.
struct ChannelFactors {
  std::vector<float> rows = {}, columns = {};

  bool empty() const { return rows.empty() && columns.empty(); }
};

// What calibration knows of a tensor.
struct TensorCalibration {
  const ErrorFeedback* feedback = nullptr;  // of its inputs, divided by the factors of its columns; nullptr: nothing
  const ChannelFactors* factors = nullptr;  // nullptr: none
};

class ChannelBalance {
 public:
  // One query head of o reads the channels of a head of v that it shares with `sharing` - 1 others: `columns` inputs of
  // heads of `head_size` come from columns / sharing channels. 1 where every input is a channel of its own.
  ChannelBalance(size_t columns, size_t head_size, size_t sharing);

  // Of a matrix [rows, columns] that reads the channels. All of them count alike.
  void add_reader(const TensorInfo& matrix);

  // For a group whose columns are multiplied by s the squared error is in proportion to (sum s_j^2 m_j^2) times
  // (sum S_jj^2 / s_j^2), m_j^2 being the mean square of column j's weights: it is least for s_j^2 = S_jj / m_j.
  // What the readers' columns are multiplied by, [columns].
  std::vector<float> column_factors(const ErrorFeedback& feedback) const;
  // What the channels that make them are multiplied by: the inverse, [columns / sharing].
  std::vector<float> channel_factors(const std::vector<float>& column_factors) const;

 private:
  size_t channel_of(size_t column) const;

  const size_t head_size_, sharing_;
  std::vector<double> squares_;  // [columns] of the readers' weights, relative to each one's mean
};

// `row` [columns] times what `factors` (or nullptr) say of row `index`.
void apply_factors(const ChannelFactors* factors, size_t index, std::span<float> row);

}  // namespace qwin
