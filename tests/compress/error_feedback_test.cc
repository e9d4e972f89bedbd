// SPDX-License-Identifier: Apache-2.0
#include "compress/error_feedback.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/cpu_info.h"

namespace qwin {
namespace {

constexpr size_t kColumns = 384, kInputs = 512;

class ErrorFeedbackTest : public ::testing::Test {
 protected:
  ErrorFeedbackTest() : inputs_(kColumns * kInputs), feedback_(kColumns) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    std::vector<float> common(kInputs);  // columns go together
    for (float& value : common) value = normal(random);
    for (size_t i = 0; i < inputs_.size(); ++i)
      inputs_[i] = normal(random) + 0.5f * static_cast<float>(i / kInputs % 3) * common[i % kInputs];
    feedback_.add(kernels_, team_, inputs_.data(), kInputs);
  }

  // sum over the inputs of (e x)^2, and what raising the diagonal adds.
  double cost(const std::vector<double>& e) const {
    double products = 0, diagonal = 0, squares = 0;
    for (size_t t = 0; t < kInputs; ++t) {
      double sum = 0;
      for (size_t i = 0; i < kColumns; ++i) {
        const double x = inputs_[i * kInputs + t];
        sum += e[i] * x;
        diagonal += x * x;
      }
      products += sum * sum;
    }
    for (const double value : e) squares += value * value;
    return products + 0.3 * diagonal / kColumns * squares;
  }

  // |S e|^2 as the factorization tells it, column by column.
  double cost_by_columns(const std::vector<double>& e) const {
    double total = 0;
    for (size_t j = 0; j < kColumns; ++j) {
      double term = e[j];
      const size_t to = j / kTile, row = j % kTile;
      for (size_t k = 0; k < j; ++k) {
        const size_t from = k / kTile, column = k % kTile;
        term += e[k] * (from == to ? feedback_.within(to)[column * kTile + row]
                                   : feedback_.between(to, from)[row * kTile + column]);
      }
      total += feedback_.importance()[j] * term * term;
    }
    return total;
  }

  const CpuKernels kernels_ = make_cpu_kernels(CpuIsa::float32);
  ThreadTeam team_{2, allowed_cores()};
  std::vector<float> inputs_;  // [columns, inputs]
  ErrorFeedback feedback_;
};

TEST_F(ErrorFeedbackTest, ColumnsTogetherTellWhatAnErrorCosts) {
  feedback_.factorize(kernels_, team_);
  EXPECT_EQ(feedback_.num_spans(), 3u);
  std::mt19937 random(4);
  std::normal_distribution<double> normal;
  for (int round = 0; round < 3; ++round) {
    std::vector<double> e(kColumns);
    for (double& value : e) value = normal(random);
    EXPECT_NEAR(cost_by_columns(e), cost(e), 1e-3 * cost(e));
  }
  std::vector<double> last(kColumns, 0.0);
  last.back() = 1;  // nothing comes after it: it costs its importance
  EXPECT_NEAR(feedback_.importance()[kColumns - 1], cost(last), 1e-3 * cost(last));
}

TEST_F(ErrorFeedbackTest, WhatWeightsAreMultipliedByInputsAreDividedBy) {
  feedback_.factorize(kernels_, team_);
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  std::vector<float> factors(kColumns);
  for (float& factor : factors) factor = std::exp(static_cast<float>(normal(random)));
  feedback_.divide_inputs(factors, team_);
  std::vector<double> e(kColumns), scaled(kColumns);
  for (size_t i = 0; i < kColumns; ++i) e[i] = normal(random), scaled[i] = e[i] * factors[i];
  EXPECT_NEAR(cost_by_columns(scaled), cost(e), 1e-3 * cost(e));
}

TEST_F(ErrorFeedbackTest, InputsAddUp) {
  ErrorFeedback halves(kColumns);
  std::vector<float> half(kColumns * kInputs / 2);
  for (size_t part = 0; part < 2; ++part) {
    for (size_t i = 0; i < kColumns; ++i)
      std::copy_n(&inputs_[i * kInputs + part * kInputs / 2], kInputs / 2, &half[i * kInputs / 2]);
    halves.add(kernels_, team_, half.data(), kInputs / 2);
  }
  EXPECT_FALSE(halves.factorized());
  halves.factorize(kernels_, team_);
  feedback_.factorize(kernels_, team_);
  EXPECT_TRUE(halves.factorized());
  for (size_t i = 0; i < kColumns; ++i)
    EXPECT_NEAR(halves.importance()[i], feedback_.importance()[i], 1e-3 * feedback_.importance()[i]);
}

TEST(ErrorFeedbackOfNothingTest, WithoutInputsColumnsAreAlike) {
  ThreadTeam team(1, {});
  ErrorFeedback feedback(256);
  feedback.factorize(make_cpu_kernels(CpuIsa::float32), team);
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(feedback.importance()[i], feedback.importance()[0]);
  EXPECT_GT(feedback.importance()[0], 0);
  for (size_t i = 0; i < kTile * kTile; ++i) EXPECT_EQ(feedback.between(1, 0)[i], 0.0f);
}

}  // namespace
}  // namespace qwin
