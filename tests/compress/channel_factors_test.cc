// SPDX-License-Identifier: Apache-2.0
#include "compress/channel_factors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/cpu_info.h"

namespace qwin {
namespace {

constexpr size_t kColumns = 128, kRows = 64;

class ChannelFactorsTest : public ::testing::Test {
 protected:
  // Columns of weights and of inputs differ in size, each in its own way.
  ChannelFactorsTest() : weights_(kRows * kColumns), inputs_(kColumns * kInputs), feedback_(kColumns) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = normal(random) * size(i % kColumns, 7);
    for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = normal(random) * size(i / kInputs, 5);
    feedback_.add(kernels_, team_, inputs_.data(), kInputs);
    feedback_.factorize(kernels_, team_);
  }

  static float size(size_t column, size_t period) { return 1 + static_cast<float>(column % period); }

  double column_square(size_t column) const {
    double sum = 0;
    for (size_t row = 0; row < kRows; ++row) sum += std::pow(weights_[row * kColumns + column], 2);
    return sum;
  }

  TensorInfo matrix() const {
    return {.name = "w",
            .dtype = DType::f32,
            .shape = {kRows, kColumns},
            .data = FileSpan::of_memory(weights_.data(), weights_.size() * sizeof(float))};
  }

  static constexpr size_t kInputs = 256;
  const CpuKernels kernels_ = make_cpu_kernels(CpuIsa::float32);
  ThreadTeam team_{2, allowed_cores()};
  std::vector<float> weights_;  // [rows, columns]
  std::vector<float> inputs_;   // [columns, inputs]
  ErrorFeedback feedback_;
};

TEST_F(ChannelFactorsTest, NoOtherFactorsLoseLess) {
  ChannelBalance balance(kColumns, 1, 1);
  balance.add_reader(matrix());
  const std::vector<float> factors = balance.column_factors(feedback_);
  const auto loss = [&](const std::vector<float>& s) {
    double weights = 0, costs = 0;
    for (size_t j = 0; j < kColumns; ++j) {
      weights += column_square(j) * s[j] * s[j];
      costs += feedback_.importance()[j] / (s[j] * s[j]);
    }
    return weights * costs;
  };
  EXPECT_LT(loss(factors), 0.9 * loss(std::vector<float>(kColumns, 1.0f)));
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 20; ++round) {
    std::vector<float> others = factors;
    for (float& factor : others) factor *= std::exp(0.1f * normal(random));
    EXPECT_GT(loss(others), loss(factors));
  }
  const std::vector<float> channels = balance.channel_factors(factors);
  for (size_t j = 0; j < kColumns; ++j) EXPECT_FLOAT_EQ(channels[j] * factors[j], 1);
}

TEST_F(ChannelFactorsTest, HeadsThatShareAChannelShareItsFactor) {
  constexpr size_t kHead = 16, kSharing = 4;  // two heads of channels, each read by four
  ChannelBalance balance(kColumns, kHead, kSharing);
  balance.add_reader(matrix());
  const std::vector<float> factors = balance.column_factors(feedback_), channels = balance.channel_factors(factors);
  ASSERT_EQ(channels.size(), kColumns / kSharing);
  for (size_t j = 0; j < kColumns; ++j)
    EXPECT_FLOAT_EQ(channels[j / (kHead * kSharing) * kHead + j % kHead] * factors[j], 1) << j;
  EXPECT_NE(factors[0], factors[1]);
  EXPECT_NE(factors[0], factors[kHead * kSharing]);
}

TEST_F(ChannelFactorsTest, ADeadColumnHasAFiniteFactor) {
  for (size_t row = 0; row < kRows; ++row) weights_[row * kColumns + 3] = 0;
  ChannelBalance balance(kColumns, 1, 1);
  balance.add_reader(matrix());
  for (const float factor : balance.column_factors(feedback_)) {
    EXPECT_GT(factor, 0.01f);
    EXPECT_LT(factor, 100.0f);
  }
}

TEST(ApplyTest, RowsAndColumns) {
  const ChannelFactors both{.rows = {1, 3}, .columns = {2, 5}}, rows{.rows = {1, 3}}, columns{.columns = {2, 5}};
  const auto row = [](const ChannelFactors* factors) {
    std::vector<float> values = {1, 10};
    apply_factors(factors, 1, values);
    return values;
  };
  EXPECT_EQ(row(&both), (std::vector<float>{6, 150}));
  EXPECT_EQ(row(&rows), (std::vector<float>{3, 30}));
  EXPECT_EQ(row(&columns), (std::vector<float>{2, 50}));
  EXPECT_EQ(row(nullptr), (std::vector<float>{1, 10}));
}

}  // namespace
}  // namespace qwin
