// SPDX-License-Identifier: Apache-2.0
#include "compress/channel_factors.h"

#include <algorithm>
#include <cmath>

#include "compress/quantize_rows.h"

namespace qwin {
namespace {

constexpr float kLargest = 16;  // and its inverse the smallest: a column that is all zeros asks for infinity

}  // namespace

ChannelBalance::ChannelBalance(size_t columns, size_t head_size, size_t sharing)
    : head_size_(head_size), sharing_(sharing), squares_(columns) {}

size_t ChannelBalance::channel_of(size_t column) const {
  return column / (head_size_ * sharing_) * head_size_ + column % head_size_;
}

void ChannelBalance::add_reader(const TensorInfo& matrix) {
  const size_t columns = squares_.size();
  std::vector<float> row(columns);
  std::vector<double> squares(columns);
  double sum = 0;
  for (size_t i = 0; i < matrix.shape[0]; ++i) {
    read_row(matrix, i, row.data());
    for (size_t j = 0; j < columns; ++j) squares[j] += static_cast<double>(row[j]) * row[j];
  }
  for (const double square : squares) sum += square;
  if (sum == 0) return;
  for (size_t j = 0; j < columns; ++j) squares_[j] += squares[j] * static_cast<double>(columns) / sum;
}

std::vector<float> ChannelBalance::column_factors(const ErrorFeedback& feedback) const {
  const size_t columns = squares_.size(), channels = columns / sharing_;
  std::vector<double> counts(channels), squares(channels);
  for (size_t j = 0; j < columns; ++j) {
    counts[channel_of(j)] += static_cast<double>(feedback.importance()[j]);
    squares[channel_of(j)] += squares_[j];
  }
  std::vector<double> logs(channels);
  double mean = 0;
  for (size_t c = 0; c < channels; ++c) {
    logs[c] = 0.25 * (std::log(std::max(counts[c], 1e-30)) - std::log(std::max(squares[c], 1e-30)));
    mean += logs[c] / static_cast<double>(channels);
  }
  std::vector<float> factors(columns);
  for (size_t j = 0; j < columns; ++j)
    factors[j] = std::clamp(static_cast<float>(std::exp(logs[channel_of(j)] - mean)), 1 / kLargest, kLargest);
  return factors;
}

std::vector<float> ChannelBalance::channel_factors(const std::vector<float>& column_factors) const {
  std::vector<float> factors(squares_.size() / sharing_);
  for (size_t j = 0; j < squares_.size(); ++j) factors[channel_of(j)] = 1 / column_factors[j];
  return factors;
}

void apply_factors(const ChannelFactors* factors, size_t index, std::span<float> row) {
  if (factors == nullptr) return;
  const float whole = factors->rows.empty() ? 1 : factors->rows[index];
  for (size_t j = 0; j < row.size(); ++j) row[j] *= factors->columns.empty() ? whole : whole * factors->columns[j];
}

}  // namespace qwin
