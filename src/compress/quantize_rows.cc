// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_rows.h"

#include <algorithm>
#include <vector>

#include "quant/dequantize.h"
#include "quant/quantize_spans.h"

namespace qwin {

void read_row(const TensorInfo& tensor, size_t row, float* weights) {
  const size_t columns = tensor.shape[1];
  dequantize(tensor.dtype, tensor.data.data() + row * row_bytes(tensor.dtype, columns), columns, weights);
}

namespace {

void read_row(const TensorInfo& tensor, const ChannelFactors* factors, size_t row, float* weights) {
  read_row(tensor, row, weights);
  apply_factors(factors, row, {weights, tensor.shape[1]});
}

// out [num_rows, 128] += what the columns before span `to` of x [num_rows, columns] move its columns by.
void add_earlier(const ErrorFeedback& feedback, const CpuKernels& kernels, size_t to, const float* x, size_t num_rows,
                 float* out) {
  for (size_t from = 0; from < to; ++from) {
    kernels.gemm_f32({.w = feedback.between(to, from),
                      .x = x + from * kTile,
                      .x_stride = feedback.num_spans() * kTile,
                      .k = kTile,
                      .num_rows = kTile,
                      .num_tokens = static_cast<int>(num_rows),
                      .bias = nullptr,
                      .residual = out,
                      .out = out,
                      .out_stride = kTile});
  }
}

// |S w|^2, this span's terms.
double weight_squares(const ErrorFeedback& feedback, size_t span, const float* w, const float* earlier) {
  const float* within = feedback.within(span);
  float terms[kTile];
  for (size_t j = 0; j < kTile; ++j) terms[j] = earlier[j] + w[j];
  for (size_t k = 0; k < kTile; ++k) {
    for (size_t j = k + 1; j < kTile; ++j) terms[j] += w[k] * within[k * kTile + j];
  }
  double sum = 0;
  for (size_t j = 0; j < kTile; ++j)
    sum += static_cast<double>(feedback.importance()[span * kTile + j]) * terms[j] * terms[j];
  return sum;
}

void quantize_each(const TensorInfo& tensor, DType type, size_t group_size, size_t first, size_t last,
                   const ChannelFactors* factors, std::byte* out, Squares* squares) {
  const size_t columns = tensor.shape[1];
  std::vector<float> weights(columns), back(columns);
  for (size_t row = first; row < last; ++row) {
    std::byte* blocks = out + row * row_bytes(type, columns);
    read_row(tensor, factors, row, weights.data());
    quantize_spans(type, weights.data(), columns, group_size, blocks);
    dequantize(type, blocks, columns, back.data());
    squares[row] = {};
    for (size_t i = 0; i < columns; ++i) {
      const double lost = static_cast<double>(weights[i]) - back[i];
      squares[row].error += lost * lost;
      squares[row].weights += static_cast<double>(weights[i]) * weights[i];
    }
  }
}

void quantize_in_order(const TensorInfo& tensor, DType type, size_t group_size, size_t first, size_t last,
                       const ErrorFeedback& feedback, const ChannelFactors* factors, const CpuKernels& kernels,
                       std::byte* out, Squares* squares) {
  const size_t columns = tensor.shape[1], num_rows = last - first, span_bytes = row_bytes(type, kTile);
  std::vector<float> weights(num_rows * columns), lost(num_rows * columns);
  std::vector<float> targets(num_rows * kTile), products(num_rows * kTile);
  for (size_t r = 0; r < num_rows; ++r)
    read_row(tensor, factors, first + r, &weights[r * columns]), squares[first + r] = {};
  for (size_t span = 0; span < feedback.num_spans(); ++span) {
    std::ranges::fill(products, 0.0f);
    add_earlier(feedback, kernels, span, weights.data(), num_rows, products.data());
    for (size_t r = 0; r < num_rows; ++r) std::copy_n(&weights[r * columns + span * kTile], kTile, &targets[r * kTile]);
    add_earlier(feedback, kernels, span, lost.data(), num_rows, targets.data());
    for (size_t r = 0; r < num_rows; ++r) {
      const float* w = &weights[r * columns + span * kTile];
      Squares& sum = squares[first + r];
      sum.weights += weight_squares(feedback, span, w, &products[r * kTile]);
      sum.error += quantize_span_in_order(type,
                                          {.w = w,
                                           .target = &targets[r * kTile],
                                           .importance = feedback.importance() + span * kTile,
                                           .feedback = feedback.within(span),
                                           .lost = &lost[r * columns + span * kTile]},
                                          group_size, out + (first + r) * row_bytes(type, columns) + span * span_bytes);
    }
  }
}

}  // namespace

void quantize_rows(const TensorInfo& tensor, DType type, size_t group_size, size_t first, size_t last,
                   const TensorCalibration& calibration, const CpuKernels& kernels, std::byte* out, Squares* squares) {
  if (calibration.feedback == nullptr) {
    quantize_each(tensor, type, group_size, first, last, calibration.factors, out, squares);
  } else {
    quantize_in_order(tensor, type, group_size, first, last, *calibration.feedback, calibration.factors, kernels, out,
                      squares);
  }
}

}  // namespace qwin
