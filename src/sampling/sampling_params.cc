// SPDX-License-Identifier: Apache-2.0
#include "qwin/sampling_params.h"

#include <cstdio>

#include "qwin/error.h"

namespace qwin {
namespace {

constexpr size_t kMaxLogitBias = 300;
constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopBytes = 256;

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", x);
  return text;
}

[[noreturn]] void refuse(const char* name, const std::string& range, const std::string& value) {
  throw Error(ErrorCode::invalid_argument, std::string(name) + " must be " + range + ", not " + value);
}

// Written so that NaN fails.
void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;
  refuse(name, "between " + number(low) + " and " + number(high), number(value));
}

void check_id(const char* name, int64_t id, uint32_t vocab_size) {
  if (id >= 0 && id < static_cast<int64_t>(vocab_size)) return;
  refuse(name, "made of token ids from 0 to " + std::to_string(int64_t{vocab_size} - 1), std::to_string(id));
}

void check_stop(const std::vector<std::string>& stop) {
  if (stop.size() > kMaxStops) refuse("stop", "a list of at most 16 strings", std::to_string(stop.size()));
  for (const std::string& s : stop) {
    if (s.empty()) refuse("stop", "made of strings of 1 to 256 bytes", "an empty string");
    if (s.size() > kMaxStopBytes) refuse("stop", "made of strings of 1 to 256 bytes", std::to_string(s.size()));
  }
}

}  // namespace

void SamplingParams::validate() const {
  check_range("temperature", temperature, 0, 100);
  if (top_k < -1) refuse("top_k", "-1 or 0 (all tokens) or positive", std::to_string(top_k));
  if (!(top_p > 0 && top_p <= 1)) refuse("top_p", "above 0 and at most 1", number(top_p));
  check_range("min_p", min_p, 0, 1);
  check_range("repetition_penalty", repetition_penalty, 0.01f, 100);
  check_range("presence_penalty", presence_penalty, -2, 2);
  check_range("frequency_penalty", frequency_penalty, -2, 2);
  if (logit_bias.size() > kMaxLogitBias) {
    refuse("logit_bias", "a map of at most 300 tokens", std::to_string(logit_bias.size()));
  }
  for (const auto& [id, bias] : logit_bias) check_range("logit_bias", bias, -100, 100);
  if (max_tokens < 1) refuse("max_tokens", "at least 1", std::to_string(max_tokens));
  if (min_tokens < 0 || min_tokens > max_tokens) {
    refuse("min_tokens", "between 0 and max_tokens", std::to_string(min_tokens));
  }
  check_stop(stop);
  if (logprobs < -1 || logprobs > 20) refuse("logprobs", "between 0 and 20", std::to_string(logprobs));
  validate_token_ids(std::numeric_limits<int32_t>::max());
}

void SamplingParams::validate_token_ids(uint32_t vocab_size) const {
  for (const auto& [id, bias] : logit_bias) check_id("logit_bias", id, vocab_size);
  for (int32_t id : stop_token_ids) check_id("stop_token_ids", id, vocab_size);
}

}  // namespace qwin
