// SPDX-License-Identifier: Apache-2.0
#include "sampling/candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "sampling/exp.h"

namespace qwin {
namespace {

// Several shapes of logits: spread, flat, few distinct values, far outliers, all equal.
std::vector<float> shaped_logits(int shape, size_t n, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> logits(n);
  for (float& x : logits) {
    const float z = normal(random);
    x = shape == 0 ? 3 * z : shape == 1 ? 0.001f * z : shape == 2 ? std::round(z) : shape == 3 ? -100 + z : 1.5f;
  }
  if (shape == 3) logits[n / 2] = 50;
  if (shape == 0) logits[n / 3] = -std::numeric_limits<float>::infinity();
  return logits;
}

std::vector<int32_t> sorted_ids(const std::vector<float>& logits) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) ids.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  return ids;
}

std::vector<int32_t> ascending(std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<int32_t> ids_of(const Candidates& candidates) { return {candidates.ids().begin(), candidates.ids().end()}; }

TEST(CandidatesTest, TopKIsThePrefixOfTheSortedVocabulary) {
  std::mt19937 random(1);
  Candidates candidates;
  for (int shape = 0; shape < 5; ++shape) {
    for (size_t k : {1, 2, 7, 15, 16, 50, 999, 1999, 2000, 3000}) {
      const std::vector<float> logits = shaped_logits(shape, 2011, random);
      std::vector<int32_t> expected = sorted_ids(logits);
      expected.resize(std::min(k, expected.size()));
      candidates.load_top_k(logits, k);
      EXPECT_EQ(ids_of(candidates), ascending(expected)) << "shape " << shape << " k " << k;
    }
  }
}

TEST(CandidatesTest, BannedTokensAreNeverLoaded) {
  std::vector<float> logits(1000, -std::numeric_limits<float>::infinity());
  Candidates candidates;
  candidates.load_top_k(logits, 3);
  EXPECT_EQ(candidates.size(), 0u);
  logits[999] = -5;
  logits[3] = -7;
  candidates.load_top_k(logits, 3);
  EXPECT_EQ(ids_of(candidates), (std::vector<int32_t>{3, 999}));
  candidates.load(logits);
  EXPECT_EQ(ids_of(candidates), (std::vector<int32_t>{3, 999}));
}

TEST(CandidatesTest, PlusAndMinusZeroTie) {
  std::vector<float> logits(640, -1);
  logits[70] = -0.0f;
  logits[200] = 0.0f;
  Candidates candidates;
  candidates.load_top_k(logits, 1);
  EXPECT_EQ(ids_of(candidates), std::vector<int32_t>{70});
}

TEST(CandidatesTest, TopPIsTheShortestPrefixThatReachesP) {
  std::mt19937 random(2);
  Candidates candidates;
  for (int shape = 0; shape < 5; ++shape) {
    for (double temperature : {0.05, 0.8, 5.0}) {
      for (double p : {1e-9, 0.1, 0.5, 0.9, 0.999}) {
        const std::vector<float> logits = shaped_logits(shape, 1500, random);
        const std::vector<int32_t> sorted = sorted_ids(logits);
        std::vector<long double> weights;
        for (int32_t id : sorted) {
          weights.push_back(std::exp((static_cast<long double>(logits[id]) - logits[sorted[0]]) / temperature));
        }
        const long double total = std::accumulate(weights.begin(), weights.end(), 0.0L);
        candidates.load(logits);
        candidates.set_weights(temperature);
        candidates.keep_top_p(p);
        const size_t n = candidates.size();
        ASSERT_EQ(ids_of(candidates), ascending({sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(n)}));
        const long double before = std::accumulate(weights.begin(), weights.begin() + n - 1, 0.0L) / total;
        EXPECT_LT(before, p + 1e-12) << shape << " " << temperature;
        EXPECT_GE(before + weights[n - 1] / total, p - 1e-12) << shape << " " << temperature;
      }
    }
  }
}

TEST(CandidatesTest, DrawCoversEveryCandidateInProportion) {
  Candidates candidates;
  candidates.load(std::vector<float>{0, std::log(2.0f), -std::numeric_limits<float>::infinity(), 0});
  candidates.set_weights(1);
  EXPECT_EQ(candidates.draw(0), 0);
  EXPECT_EQ(candidates.draw(0.24), 0);
  EXPECT_EQ(candidates.draw(0.26), 1);
  EXPECT_EQ(candidates.draw(0.74), 1);
  EXPECT_EQ(candidates.draw(0.76), 3);
  EXPECT_EQ(candidates.draw(1 - 0x1p-53), 3);
}

TEST(ExpTest, IsWithinFourUnitsInTheSixteenthDigit) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int i = 0; i < 200000; ++i) {
    const double x = -700 * std::pow(uniform(random), 4);
    const long double exact = std::exp(static_cast<long double>(x));
    ASSERT_LE(std::fabs((exp_nonpositive(x) - exact) / exact), 4e-16L) << x;
  }
  EXPECT_EQ(exp_nonpositive(0), 1.0);
  EXPECT_EQ(exp_nonpositive(-0.0), 1.0);
  for (double x : {-701.0, -1e300, -std::numeric_limits<double>::infinity()}) {
    EXPECT_GT(exp_nonpositive(x), 0.0);
    EXPECT_LT(exp_nonpositive(x), 1e-303);
  }
}

}  // namespace
}  // namespace qwin
