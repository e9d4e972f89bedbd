// SPDX-License-Identifier: Apache-2.0
#include "scheduler/cost_model.h"

#include <algorithm>
#include <cmath>

namespace qwin {

namespace {

// Half of what is known comes from the last 23 steps.
constexpr double kForgetting = 0.97;
// Features of similar size.
constexpr double kTokenUnit = 64, kKeyUnit = 65536;
// What steps that are all alike say nothing about stays as it was.
constexpr double kInertia = 1e-3;
constexpr int kSweeps = 30;

// Kernels take more tokens in groups, not along a line, and others use the machine: steps deviate. Twice the mean
// deviation of some ten steps covers nineteen of twenty; no single one counts for more than a quarter of what it took.
constexpr double kDeviationRate = 0.1, kDeviations = 2, kMostDeviation = 0.25;

}  // namespace

CostModel::Vector CostModel::features(const StepLoad& load) {
  return {1, static_cast<double>(load.tokens) / kTokenUnit, load.keys / kKeyUnit};
}

double CostModel::careful_seconds(const StepLoad& load) const {
  const double expected = seconds(load);
  return expected + kDeviations * std::min(deviation_, kMostDeviation * expected);
}

double CostModel::seconds(const StepLoad& load) const {
  const Vector x = features(load);
  double sum = 0;
  for (size_t i = 0; i < 3; ++i) sum += weights_[i] * x[i];
  return sum;
}

void CostModel::observe(const StepLoad& load, double taken) {
  most_tokens_ = std::max(most_tokens_, load.tokens);
  const double expected = seconds(load);
  // A process that was stopped for a minute has learnt nothing about its steps.
  taken = std::clamp(taken, 0.0, std::max(4 * expected, 1.0));
  deviation_ += kDeviationRate * (std::min(std::abs(taken - expected), kMostDeviation * expected) - deviation_);

  const Vector x = features(load), before = weights_;
  for (size_t i = 0; i < 3; ++i) {
    targets_[i] = kForgetting * targets_[i] + x[i] * taken;
    for (size_t j = 0; j < 3; ++j) products_[i][j] = kForgetting * products_[i][j] + x[i] * x[j];
  }
  // One weight after the other to where it serves best beside the others.
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (size_t i = 0; i < 3; ++i) {
      double rest = targets_[i] + kInertia * before[i];
      for (size_t j = 0; j < 3; ++j) rest -= j == i ? 0 : products_[i][j] * weights_[j];
      weights_[i] = std::max(rest / (products_[i][i] + kInertia), 0.0);
    }
  }
}

}  // namespace qwin
