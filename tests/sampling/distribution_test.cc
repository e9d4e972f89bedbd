// SPDX-License-Identifier: Apache-2.0
// 100,000 draws of each of 12 settings against the exact distribution, computed here the plain way: sort and cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qwin/sampling_params.h"
#include "sampling/sampler.h"

namespace qwin {
namespace {

constexpr int kVocab = 24;
constexpr int kPadding = 4;
constexpr int kDraws = 100000;

std::vector<float> vocabulary_logits() {
  std::vector<float> logits(kVocab + kPadding, 20.0f);  // the padding is the most probable of all
  for (int i = 0; i < kVocab; ++i) logits[i] = 3.0f * std::sin(1.7f * static_cast<float>(i)) - 0.5f;
  logits[5] = logits[11];  // a tie
  return logits;
}

// Zeroes what does not pass; p is in the order of ids.
void cut(const SamplingParams& params, std::vector<double>& p) {
  std::vector<int> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return p[a] > p[b]; });
  if (params.top_k > 0) {
    for (size_t rank = params.top_k; rank < order.size(); ++rank) p[order[rank]] = 0;
  }
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  double before = 0;
  for (int id : order) {
    const double own = p[id] / total;
    if (before >= params.top_p) p[id] = 0;
    before += own;
  }
  const double least = params.min_p * p[order[0]];
  for (double& x : p) x = x < least ? 0 : x;
}

std::vector<double> exact_distribution(const SamplingParams& params) {
  const std::vector<float> logits = vocabulary_logits();
  std::vector<double> p(kVocab);
  for (int i = 0; i < kVocab; ++i) {
    double x = logits[i];
    for (const auto& [id, bias] : params.logit_bias) x += id == i ? bias : 0;
    p[i] = std::exp(x / params.temperature);
  }
  cut(params, p);
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= total;
  return p;
}

// The chance of a statistic at least this large, by Wilson and Hilferty's normal approximation.
double chi_square_p(double statistic, int degrees) {
  const double v = 2.0 / (9.0 * degrees);
  const double z = (std::cbrt(statistic / degrees) - (1 - v)) / std::sqrt(v);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

// Cells of fewer than 8 expected draws are put together. A draw of probability 0 gives p = 0.
double goodness_of_fit(const std::vector<double>& probabilities, const std::vector<int>& counts) {
  double statistic = 0;
  double rest_expected = 0;
  double rest_count = 0;
  int cells = 0;
  const auto add_cell = [&](double expected, double count) {
    statistic += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = i < probabilities.size() ? probabilities[i] * kDraws : 0;
    if (expected == 0 && counts[i] > 0) return 0;
    if (expected >= 8) {
      add_cell(expected, counts[i]);
    } else {
      rest_expected += expected;
      rest_count += counts[i];
    }
  }
  if (rest_expected >= 1) add_cell(rest_expected, rest_count);
  return cells > 1 ? chi_square_p(statistic, cells - 1) : 1;
}

// One long sequence, or the first token of as many seeds.
std::vector<int> count_draws(SamplingParams params, bool one_sequence) {
  const std::vector<float> logits = vocabulary_logits();
  std::vector<float> copy;
  std::vector<int> counts(logits.size());
  Sampler sequence(params, kVocab, 2024);
  for (int i = 0; i < kDraws; ++i) {
    copy = logits;
    if (one_sequence) {
      const int32_t id = sequence.sample(copy);
      sequence.accept(id);
      ++counts[id];
    } else {
      params.seed = static_cast<uint64_t>(i);
      ++counts[Sampler(params, kVocab, 0).sample(copy)];
    }
  }
  return counts;
}

const SamplingParams kSettings[] = {
    {.temperature = 1.0f},
    {.temperature = 0.3f},
    {.temperature = 2.5f},
    {.temperature = 1.0f, .top_k = 5},
    {.temperature = 0.7f, .top_k = 20, .top_p = 0.8f},
    {.temperature = 1.0f, .top_p = 0.9f},
    {.temperature = 1.5f, .top_p = 0.3f},
    {.temperature = 1.0f, .min_p = 0.1f},
    {.temperature = 3.0f, .top_k = 12, .top_p = 0.95f, .min_p = 0.3f},
    {.temperature = 100.0f, .top_k = 23},
    {.temperature = 1.0f, .top_p = 0.99f, .min_p = 0.01f, .logit_bias = {{3, 4.0f}, {1, -100.0f}}},
    {.temperature = 0.6f, .top_k = -1, .top_p = 0.95f, .logit_bias = {{7, 2.0f}}},
};

TEST(DistributionTest, DrawsFollowTheExactDistribution) {
  static_assert(std::size(kSettings) == 12);
  for (size_t i = 0; i < std::size(kSettings); ++i) {
    for (bool one_sequence : {true, false}) {
      const double p = goodness_of_fit(exact_distribution(kSettings[i]), count_draws(kSettings[i], one_sequence));
      EXPECT_GT(p, 1e-4) << "setting " << i << (one_sequence ? ", one sequence" : ", one token a seed");
      RecordProperty("p_" + std::to_string(i) + (one_sequence ? "_sequence" : "_seeds"), std::to_string(p));
    }
  }
}

TEST(DistributionTest, TheTestItselfNoticesASmallError) {
  SamplingParams wrong = kSettings[0];
  wrong.temperature = 1.03f;
  EXPECT_LT(goodness_of_fit(exact_distribution(wrong), count_draws(kSettings[0], true)), 1e-4);
}

}  // namespace
}  // namespace qwin
