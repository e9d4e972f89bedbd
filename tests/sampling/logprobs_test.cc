// SPDX-License-Identifier: Apache-2.0
#include "sampling/logprobs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sampling/sampler.h"

namespace qwin {
namespace {

std::vector<float> random_logits(size_t n) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(5, 4);
  std::vector<float> logits(n);
  for (float& x : logits) x = normal(random);
  return logits;
}

double plain_log_sum_exp(const std::vector<float>& logits) {
  long double sum = 0;
  for (float x : logits) sum += std::exp(static_cast<long double>(x));
  return static_cast<double>(std::log(sum));
}

TEST(LogprobsTest, LogSumExpIsExactInFloat64) {
  for (size_t n : {1, 2, 7, 8, 9, 100, 151936}) {
    const std::vector<float> logits = random_logits(n);
    EXPECT_NEAR(log_sum_exp(logits), plain_log_sum_exp(logits), 1e-12) << n;
  }
  EXPECT_EQ(log_sum_exp(std::vector<float>{3e38f, -3e38f}), static_cast<double>(3e38f));
}

TEST(LogprobsTest, TopIdsComeBestFirstAndLowerIdsFirstOfEqualOnes) {
  Candidates scratch;
  std::vector<int32_t> ids;
  top_ids(std::vector<float>{1, 3, 2, 3, 0}, 4, &scratch, &ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 3, 2, 0}));
  top_ids(std::vector<float>{1, 3, 2, 3, 0}, 9, &scratch, &ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 3, 2, 0, 4}));
  top_ids(std::vector<float>{1, 3}, 0, &scratch, &ids);
  EXPECT_TRUE(ids.empty());
}

TEST(LogprobsTest, AreOfTheModelNotOfThePenalisedDistribution) {
  const std::vector<float> logits = random_logits(300);
  const SamplingParams params{
      .temperature = 0.5f, .top_k = 4, .repetition_penalty = 2.0f, .logit_bias = {{7, 50.0f}}, .logprobs = 20};
  Sampler sampler(params, 290, 3);
  sampler.accept_prompt(std::vector<int32_t>{1, 2, 3, 7});
  std::vector<float> modified = logits;
  const int32_t token = sampler.sample(modified);
  const double lse = plain_log_sum_exp(logits);
  const TokenLogprobs& result = sampler.logprobs();
  EXPECT_EQ(token, 7);
  EXPECT_EQ(result.chosen.token_id, 7);
  EXPECT_FLOAT_EQ(result.chosen.logprob, static_cast<float>(logits[7] - lse));
  ASSERT_EQ(result.top.size(), 20u);
  double sum = 0;
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_FLOAT_EQ(result.top[i].logprob, static_cast<float>(logits[result.top[i].token_id] - lse));
    if (i > 0) {
      EXPECT_LE(result.top[i].logprob, result.top[i - 1].logprob);
    }
    sum += std::exp(result.top[i].logprob);
  }
  EXPECT_LE(sum, 1 + 1e-6);
}

TEST(LogprobsTest, ZeroAsksForTheChosenTokenAlone) {
  Sampler sampler({.logprobs = 0}, 2, 0);
  std::vector<float> logits = {0, 0};
  EXPECT_EQ(sampler.sample(logits), 0);
  EXPECT_TRUE(sampler.logprobs().top.empty());
  EXPECT_FLOAT_EQ(sampler.logprobs().chosen.logprob, std::log(0.5f));
}

}  // namespace
}  // namespace qwin
