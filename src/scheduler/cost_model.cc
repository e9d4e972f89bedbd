// SPDX-License-Identifier: Apache-2.0
#include "scheduler/cost_model.h"

#include <algorithm>

namespace qwin {

namespace {

// Half of what is known comes from the last 70 steps.
constexpr double kForgetting = 0.99;
// Features of similar size keep the covariance well conditioned.
constexpr double kTokenUnit = 64, kKeyUnit = 65536;
// Without bounds, steps that are all alike would let what they say nothing about grow for ever.
constexpr double kMaxVariance = 1e3;

// Kernels take more tokens in steps, not along a line: a step that took longer than the line says makes the model
// careful for a while.
constexpr double kMostCaution = 2, kCalming = 0.85;

}  // namespace

CostModel::CostModel() {
  for (size_t i = 0; i < 3; ++i) covariance_[i][i] = kMaxVariance;  // nothing is known: the first steps count in full
}

CostModel::Vector CostModel::features(const StepLoad& load) {
  return {1, static_cast<double>(load.tokens) / kTokenUnit, load.keys / kKeyUnit};
}

double CostModel::seconds(const StepLoad& load) const { return caution_ * line(load); }

double CostModel::line(const StepLoad& load) const {
  const Vector x = features(load);
  double sum = 0;
  for (size_t i = 0; i < 3; ++i) sum += weights_[i] * x[i];
  return sum;
}

void CostModel::observe(const StepLoad& load, double seconds) {
  most_tokens_ = std::max(most_tokens_, load.tokens);
  const Vector x = features(load);
  const double predicted = line(load);
  if (predicted > 0) caution_ = std::clamp(seconds / predicted, 1 + kCalming * (caution_ - 1), kMostCaution);
  // A process that was stopped for a minute has learnt nothing about its steps.
  const double error = std::clamp(seconds, 0.0, std::max(4 * predicted, 1.0)) - predicted;

  Vector px{};
  double xpx = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) px[i] += covariance_[i][j] * x[j];
  }
  for (size_t i = 0; i < 3; ++i) xpx += x[i] * px[i];
  const double scale = 1 / (kForgetting + xpx);
  for (size_t i = 0; i < 3; ++i) weights_[i] = std::max(weights_[i] + scale * error * px[i], 0.0);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) covariance_[i][j] = (covariance_[i][j] - scale * px[i] * px[j]) / kForgetting;
  }
  const double largest = std::max({covariance_[0][0], covariance_[1][1], covariance_[2][2]});
  if (largest > kMaxVariance) {
    for (Vector& row : covariance_) {
      for (double& value : row) value *= kMaxVariance / largest;
    }
  }
}

}  // namespace qwin
