// SPDX-License-Identifier: Apache-2.0
#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "qwin/error.h"

namespace qwin {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(n);
  for (float& x : logits) x = normal(random);
  return logits;
}

int32_t sample_copy(Sampler& sampler, std::vector<float> logits) { return sampler.sample(logits); }

std::vector<int32_t> sample_tokens(const SamplingParams& params, const std::vector<float>& logits, int count) {
  Sampler sampler(params, static_cast<uint32_t>(logits.size()), 1);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(sample_copy(sampler, logits));
    sampler.accept(tokens.back());
  }
  return tokens;
}

ErrorCode sample_error(const SamplingParams& params, std::vector<float> logits) {
  try {
    Sampler(params, 4, 0).sample(logits);
  } catch (const Error& e) {
    return e.code();
  }
  return ErrorCode::cancelled;
}

TEST(SamplerTest, GreedyTakesTheHighestAndOfEqualOnesTheLowestId) {
  Sampler sampler({}, 5, 0);
  EXPECT_EQ(sample_copy(sampler, {-4, -1, -3, -1, -2}), 1);
  EXPECT_EQ(sample_copy(sampler, {-1, -0.0f, 0.0f, -3, 0.0f}), 1);
  EXPECT_EQ(sample_copy(sampler, {2, 2, 2, 2, 2}), 0);
  EXPECT_EQ(sample_copy(sampler, {-1e30f, -1e38f, -1, 3e38f, 3e38f}), 3);
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::vector<float> logits = random_logits(1001, seed);
    const auto highest = std::max_element(logits.begin(), logits.end()) - logits.begin();
    Sampler greedy({}, 1001, 0);
    EXPECT_EQ(sample_copy(greedy, logits), highest);
  }
}

TEST(SamplerTest, PaddingIsNeverSampledWhateverItsLogitOrBias) {
  std::vector<float> logits = random_logits(32, 3);
  for (size_t i = 20; i < 32; ++i) logits[i] = 1e6f;
  for (float temperature : {0.0f, 0.01f, 1.0f, 100.0f}) {
    SamplingParams params{.temperature = temperature, .logit_bias = {{25, 100.0f}, {31, 100.0f}}, .logprobs = 20};
    Sampler sampler(params, 20, 5);
    for (int i = 0; i < 2000; ++i) {
      ASSERT_LT(sample_copy(sampler, logits), 20);
      for (const TokenLogprob& t : sampler.logprobs().top) ASSERT_LT(t.token_id, 20);
      sampler.accept(0);
    }
  }
}

TEST(SamplerTest, TopKKeepsLowerIdsOfEqualLogits) {
  SamplingParams params{.temperature = 1, .top_k = 3};
  const std::vector<float> logits = {0, 5, 1, 1, 1, 5, 1};
  const std::vector<int32_t> tokens = sample_tokens(params, logits, 5000);
  for (int32_t id : tokens) EXPECT_TRUE(id == 1 || id == 5 || id == 2) << id;
  EXPECT_GT(std::count(tokens.begin(), tokens.end(), 2), 0);
}

TEST(SamplerTest, PenaltiesFollowTheirFormulas) {
  const SamplingParams params{.repetition_penalty = 1.3f,
                              .presence_penalty = 0.7f,
                              .frequency_penalty = -0.4f,
                              .logit_bias = {{2, 1.5f}, {9, -100.0f}}};
  const std::vector<int32_t> prompt = {1, 2, 2, 14, 19, 300, -1};
  const std::vector<int32_t> output = {2, 5, 5, 5, 7};
  Sampler sampler(params, 20, 0);
  sampler.accept_prompt(prompt);
  for (int32_t id : output) sampler.accept(id);
  std::vector<float> logits = random_logits(20, 8);
  std::vector<float> expected = logits;
  for (int32_t id = 0; id < 20; ++id) {
    const float times = static_cast<float>(std::count(output.begin(), output.end(), id));
    const bool in_prompt = std::count(prompt.begin(), prompt.end(), id) > 0;
    float& x = expected[id];
    if (in_prompt || times > 0) x = x > 0 ? x / 1.3f : x * 1.3f;
    x -= -0.4f * times + (times > 0 ? 0.7f : 0.0f);
  }
  expected[2] += 1.5f;
  expected[9] -= 100.0f;
  const int32_t token = sampler.sample(logits);
  for (int id = 0; id < 20; ++id) EXPECT_FLOAT_EQ(logits[id], expected[id]) << id;
  EXPECT_EQ(token, std::max_element(expected.begin(), expected.end()) - expected.begin());
}

TEST(SamplerTest, PromptAloneCountsForNeitherPresenceNorFrequency) {
  const SamplingParams params{.presence_penalty = 2, .frequency_penalty = 2};
  Sampler sampler(params, 3, 0);
  sampler.accept_prompt(std::vector<int32_t>{0, 0, 0});
  EXPECT_EQ(sample_copy(sampler, {1.0f, 0.5f, 0}), 0);
  sampler.accept(0);
  EXPECT_EQ(sample_copy(sampler, {1.0f, 0.5f, 0}), 1);
}

TEST(SamplerTest, SameSeedSameTokensOtherSeedOthers) {
  const std::vector<float> logits = random_logits(500, 4);
  SamplingParams params{.temperature = 1, .top_p = 0.95f};
  std::vector<std::vector<int32_t>> runs;
  for (uint64_t seed : {7, 7, 8}) {
    params.seed = seed;
    runs.push_back(sample_tokens(params, logits, 100));
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_NE(runs[0], runs[2]);
  params.seed.reset();  // the default of sample_tokens is 1
  const std::vector<int32_t> by_default = sample_tokens(params, logits, 100);
  params.seed = 1;
  EXPECT_EQ(by_default, sample_tokens(params, logits, 100));
}

TEST(SamplerTest, DrawsTheSameTokenUntilItIsAccepted) {
  const std::vector<float> logits = random_logits(400, 6);
  Sampler sampler({.temperature = 2, .seed = 3}, 400, 0);
  std::vector<int32_t> tokens;
  for (int i = 0; i < 20; ++i) {
    tokens.push_back(sample_copy(sampler, logits));
    EXPECT_EQ(sample_copy(sampler, logits), tokens.back());
    sampler.accept(tokens.back());
  }
  EXPECT_NE(std::count(tokens.begin(), tokens.end(), tokens[0]), 20);
}

TEST(SamplerTest, SameSeedGivesTheseTokensOnEveryPlatform) {
  std::vector<float> logits(64);
  for (int i = 0; i < 64; ++i) logits[i] = static_cast<float>((i * 37) % 64) * 0.125f;
  const SamplingParams params{.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .min_p = 0.02f, .seed = 42};
  EXPECT_EQ(sample_tokens(params, logits, 12), (std::vector<int32_t>{19, 57, 31, 10, 38, 10, 17, 43, 12, 43, 38, 12}));
}

TEST(SamplerTest, EndTokensAreBannedUntilMinTokens) {
  SamplingParams params{.min_tokens = 2, .stop_token_ids = {2}};
  const std::vector<int32_t> eos = {3};
  Sampler sampler(params, 4, 0, eos);
  const std::vector<float> logits = {0, 1, 4, 5};
  for (int expected : {1, 1, 3}) {
    EXPECT_EQ(sample_copy(sampler, logits), expected);
    sampler.accept(expected);
  }
}

TEST(SamplerTest, RefusesLogitsThatAreNotFinite) {
  for (float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_EQ(sample_error({}, {0, bad, 0, 0}), ErrorCode::numerical);
    EXPECT_EQ(sample_error({.temperature = 1}, {0, 0, 0, bad}), ErrorCode::numerical);
  }
  EXPECT_EQ(sample_error({}, {0, 0, 0}), ErrorCode::invalid_argument);
}

TEST(SamplerTest, RefusesToBanEveryToken) {
  for (float temperature : {0.0f, 1.0f}) {
    SamplingParams params{.temperature = temperature, .min_tokens = 1, .stop_token_ids = {0, 1, 2, 3}};
    EXPECT_EQ(sample_error(params, {0, 1, 2, 3}), ErrorCode::invalid_argument);
  }
}

TEST(SamplerTest, SurvivesExtremeLogitsAndTemperatures) {
  for (float temperature : {std::numeric_limits<float>::denorm_min(), 1e-30f, 1.0f, 100.0f}) {
    SamplingParams params{.temperature = temperature,
                          .top_k = 2,
                          .top_p = 0.5f,
                          .min_p = 0.5f,
                          .repetition_penalty = 0.01f,
                          .logit_bias = {{0, 100.0f}}};
    Sampler sampler(params, 4, 0);
    sampler.accept_prompt(std::vector<int32_t>{0, 1, 2, 3});
    EXPECT_EQ(sample_copy(sampler, {3e38f, -3e38f, 0, 1e-45f}), 0);
  }
}

}  // namespace
}  // namespace qwin
