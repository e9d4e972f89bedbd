// SPDX-License-Identifier: Apache-2.0
#include "sampling/penalties.h"

#include <algorithm>
#include <limits>

#include "qwin/sampling_params.h"

namespace qwin {
namespace {

constexpr uint32_t kUnseen = std::numeric_limits<uint32_t>::max();

}  // namespace

Penalties::Penalties(const SamplingParams& params, uint32_t num_token_ids)
    : repetition_(params.repetition_penalty),
      presence_(params.presence_penalty),
      frequency_(params.frequency_penalty),
      num_token_ids_(num_token_ids) {
  if (repetition_ != 1 || presence_ != 0 || frequency_ != 0) counts_.assign(num_token_ids, kUnseen);
}

uint32_t* Penalties::find_count(int32_t token_id) {
  if (counts_.empty() || token_id < 0 || static_cast<uint32_t>(token_id) >= num_token_ids_) return nullptr;
  uint32_t& count = counts_[token_id];
  if (count == kUnseen) {
    count = 0;
    seen_ids_.push_back(token_id);
  }
  return &count;
}

void Penalties::add_prompt(std::span<const int32_t> token_ids) {
  if (repetition_ == 1) return;
  for (int32_t id : token_ids) find_count(id);
}

void Penalties::add_output(int32_t token_id) {
  if (uint32_t* count = find_count(token_id)) ++*count;
}

void Penalties::apply(std::span<float> logits) const {
  constexpr float kMax = std::numeric_limits<float>::max();
  for (int32_t id : seen_ids_) {
    float x = logits[id];
    x = x > 0 ? x / repetition_ : x * repetition_;
    if (counts_[id] > 0) x -= frequency_ * static_cast<float>(counts_[id]) + presence_;
    logits[id] = std::clamp(x, -kMax, kMax);
  }
}

}  // namespace qwin
