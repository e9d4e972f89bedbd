// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compress/quantize_tensor.h"
#include "compress/span_model.h"
#include "core/cpu_info.h"
#include "quant/dequantize.h"

namespace qwin {
namespace {

using testing::SpanModel;

class QuantizeRowsTest : public ::testing::Test {
 protected:
  // Inputs of 256 columns that go together by pairs.
  QuantizeRowsTest() {
    constexpr size_t kInputs = 512;
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    inputs_.resize(256 * kInputs);
    for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = normal(random);
    for (size_t i = kInputs; i < inputs_.size(); ++i) inputs_[i] = 0.3f * inputs_[i] + inputs_[i % kInputs];
    feedback_.add(kernels_, team_, inputs_.data(), kInputs);
    feedback_.factorize(kernels_, team_);
  }

  // Squares of what the products with the inputs lose, relative to the products'; the inputs' own squares are raised by
  // a part of their mean.
  double lost(const std::vector<std::byte>& blocks, DType type, double raised) const {
    const size_t rows = tensor_.shape[0], inputs = inputs_.size() / 256;
    std::vector<float> w(256), back(256);
    double mean = 0;
    for (const float x : inputs_) mean += static_cast<double>(x) * x / 256;
    double error = 0, all = 0;
    for (size_t row = 0; row < rows; ++row) {
      dequantize(tensor_.dtype, tensor_.data.data() + row * row_bytes(tensor_.dtype, 256), 256, w.data());
      dequantize(type, blocks.data() + row * row_bytes(type, 256), 256, back.data());
      for (size_t t = 0; t < inputs; ++t) {
        double product = 0, left = 0;
        for (size_t i = 0; i < 256; ++i) {
          product += static_cast<double>(w[i]) * inputs_[i * inputs + t];
          left += static_cast<double>(w[i] - back[i]) * inputs_[i * inputs + t];
        }
        error += left * left, all += product * product;
      }
      for (size_t i = 0; i < 256; ++i) {
        error += raised * mean * std::pow(static_cast<double>(w[i] - back[i]), 2);
        all += raised * mean * std::pow(static_cast<double>(w[i]), 2);
      }
    }
    return error / all;
  }

  std::vector<std::byte> quantized(DType type, bool in_order, Squares* total) const {
    const size_t rows = tensor_.shape[0];
    std::vector<std::byte> out(rows * row_bytes(type, 256));
    std::vector<Squares> squares(rows);
    const TensorCalibration known{.feedback = in_order ? &feedback_ : nullptr};
    quantize_rows(tensor_, type, 32, 0, rows, known, kernels_, out.data(), squares.data());
    for (const Squares& row : squares) total->error += row.error, total->weights += row.weights;
    return out;
  }

  const SpanModel model_;
  const ModelFiles files_ = model_.open();
  const TensorInfo& tensor_ = *files_.tensors.find("model.layers.0.mlp.down_proj.weight");
  const CpuKernels kernels_ = make_cpu_kernels(CpuIsa::float32);
  ThreadTeam team_{1, {}};
  std::vector<float> inputs_;  // [columns, inputs]
  ErrorFeedback feedback_{256};
};

TEST_F(QuantizeRowsTest, SquaresTellWhatTheWeightsLose) {
  for (const DType type : {DType::q4, DType::q5, DType::q6, DType::q8}) {
    Squares told, counted;
    const std::vector<std::byte> out = quantized(type, false, &told);
    std::vector<float> w(256), back(256);
    for (size_t row = 0; row < tensor_.shape[0]; ++row) {
      dequantize(tensor_.dtype, tensor_.data.data() + row * 1024, 256, w.data());
      dequantize(type, out.data() + row * row_bytes(type, 256), 256, back.data());
      for (size_t i = 0; i < 256; ++i) {
        counted.error += static_cast<double>(w[i] - back[i]) * (w[i] - back[i]);
        counted.weights += static_cast<double>(w[i]) * w[i];
      }
    }
    EXPECT_NEAR(told.error, counted.error, 1e-6 * counted.error);
    EXPECT_NEAR(told.weights, counted.weights, 1e-6 * counted.weights);
  }
}

TEST_F(QuantizeRowsTest, FeedbackMakesGoodWhatProductsLose) {
  for (const DType type : {DType::q4, DType::q5, DType::q6, DType::q8}) {
    Squares plain, in_order;
    const auto without = quantized(type, false, &plain), with = quantized(type, true, &in_order);
    EXPECT_LT(lost(with, type, 0), 0.7 * lost(without, type, 0)) << dtype_info(type).name;
    // Told as it is minimized: with the diagonal of the inputs' products raised by 0.3 of their mean.
    const double told = in_order.error / in_order.weights;
    EXPECT_NEAR(told, lost(with, type, 0.3), 0.01 * told) << dtype_info(type).name;
  }
}

TEST_F(QuantizeRowsTest, RowsDoNotDependOnEachOtherNorOnThreads) {
  const size_t rows = tensor_.shape[0], bytes = row_bytes(DType::q4, 256);
  Squares total;
  const std::vector<std::byte> whole = quantized(DType::q4, true, &total);
  std::vector<std::byte> parts(whole.size());
  std::vector<Squares> squares(rows);
  for (size_t first = 0; first < rows; first += 13)
    quantize_rows(tensor_, DType::q4, 32, first, std::min(first + 13, rows), {.feedback = &feedback_}, kernels_,
                  parts.data(), squares.data());
  EXPECT_EQ(parts, whole);
  EXPECT_EQ(bytes * rows, whole.size());

  ThreadTeam team(3, {});
  for (const ErrorFeedback* feedback : std::initializer_list<const ErrorFeedback*>{nullptr, &feedback_}) {
    TensorQuantizer one(team_, 32), three(team, 32);
    const auto a = one.quantize(tensor_, DType::q6, {feedback}), b = three.quantize(tensor_, DType::q6, {feedback});
    EXPECT_TRUE(std::ranges::equal(a.bytes, b.bytes));
    EXPECT_EQ(a.squares.error, b.squares.error);
  }
}

}  // namespace
}  // namespace qwin
