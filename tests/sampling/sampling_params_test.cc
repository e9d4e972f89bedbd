// SPDX-License-Identifier: Apache-2.0
#include "qwin/sampling_params.h"

#include <gtest/gtest.h>

#include <functional>

#include "qwin/error.h"

namespace qwin {
namespace {

using Change = std::function<void(SamplingParams&)>;

// The detail of the error, empty when there is none.
std::string refusal(const Change& change) {
  SamplingParams params;
  change(params);
  try {
    params.validate();
    params.validate_token_ids(1000);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    return e.what();
  }
  return "";
}

TEST(SamplingParamsTest, BoundsThemselvesAreAllowed) {
  const Change changes[] = {
      [](auto& p) { p.temperature = 100; },
      [](auto& p) { p.top_k = -1; },
      [](auto& p) { p.top_k = 2147483647; },
      [](auto& p) { p.top_p = 1e-45f; },
      [](auto& p) { p.min_p = 1; },
      [](auto& p) { p.repetition_penalty = 0.01f; },
      [](auto& p) { p.presence_penalty = -2; },
      [](auto& p) { p.frequency_penalty = 2; },
      [](auto& p) { p.logit_bias.assign(300, {999, -100.0f}); },
      [](auto& p) { p.max_tokens = p.min_tokens = 1; },
      [](auto& p) { p.stop.assign(16, std::string(256, 'x')); },
      [](auto& p) { p.stop_token_ids = {0, 999}; },
      [](auto& p) { p.logprobs = 20; },
      [](auto& p) { p.logprobs = 0; },
  };
  for (const Change& change : changes) EXPECT_EQ(refusal(change), "");
}

TEST(SamplingParamsTest, RefusalsBeginWithTheNameOfTheParameter) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::pair<std::string, Change> cases[] = {
      {"temperature", [](auto& p) { p.temperature = -1; }},
      {"temperature", [](auto& p) { p.temperature = 1e9f; }},
      {"temperature", [=](auto& p) { p.temperature = nan; }},
      {"top_k", [](auto& p) { p.top_k = -2; }},
      {"top_p", [](auto& p) { p.top_p = 0; }},
      {"top_p", [](auto& p) { p.top_p = 1.1f; }},
      {"top_p", [=](auto& p) { p.top_p = nan; }},
      {"min_p", [](auto& p) { p.min_p = -0.1f; }},
      {"min_p", [](auto& p) { p.min_p = 1.1f; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = 0; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = 1e9f; }},
      {"presence_penalty", [](auto& p) { p.presence_penalty = -1e9f; }},
      {"frequency_penalty", [](auto& p) { p.frequency_penalty = 1e9f; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{-1, 0.0f}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{1000, 0.0f}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{1, 101.0f}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias.assign(301, {1, 0.0f}); }},
      {"max_tokens", [](auto& p) { p.max_tokens = 0; }},
      {"max_tokens", [](auto& p) { p.max_tokens = -1; }},
      {"min_tokens", [](auto& p) { p.min_tokens = -1; }},
      {"min_tokens", [](auto& p) { p.max_tokens = 3, p.min_tokens = 4; }},
      {"stop", [](auto& p) { p.stop = {"a", ""}; }},
      {"stop", [](auto& p) { p.stop = {std::string(257, 'x')}; }},
      {"stop", [](auto& p) { p.stop.assign(17, "x"); }},
      {"stop_token_ids", [](auto& p) { p.stop_token_ids = {5, 1000}; }},
      {"stop_token_ids", [](auto& p) { p.stop_token_ids = {-1}; }},
      {"logprobs", [](auto& p) { p.logprobs = 21; }},
      {"logprobs", [](auto& p) { p.logprobs = -2; }},
  };
  for (const auto& [name, change] : cases) {
    const std::string detail = refusal(change);
    EXPECT_EQ(detail.substr(0, detail.find(' ')), name) << detail;
  }
}

TEST(SamplingParamsTest, RefusalTellsTheAllowedRange) {
  EXPECT_EQ(refusal([](auto& p) { p.temperature = -1; }), "temperature must be between 0 and 100, not -1");
  EXPECT_EQ(refusal([](auto& p) { p.stop_token_ids = {1000}; }),
            "stop_token_ids must be made of token ids from 0 to 999, not 1000");
}

}  // namespace
}  // namespace qwin
