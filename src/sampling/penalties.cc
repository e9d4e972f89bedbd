// SPDX-License-Identifier: Apache-2.0
#include "sampling/penalties.h"

#include <algorithm>
#include <limits>

#include "qwin/sampling_params.h"

namespace qwin {

Penalties::Penalties(const SamplingParams& params, uint32_t num_token_ids)
    : repetition_(params.repetition_penalty),
      presence_(params.presence_penalty),
      frequency_(params.frequency_penalty),
      num_token_ids_(num_token_ids) {}

bool Penalties::matters(int32_t token_id) const {
  const bool is_neutral = repetition_ == 1 && presence_ == 0 && frequency_ == 0;
  return !is_neutral && token_id >= 0 && static_cast<uint32_t>(token_id) < num_token_ids_;
}

void Penalties::add_prompt(std::span<const int32_t> token_ids) {
  if (repetition_ == 1) return;
  for (int32_t id : token_ids) {
    if (matters(id)) counts_.try_emplace(id, 0);
  }
}

void Penalties::add_output(int32_t token_id) {
  if (matters(token_id)) ++counts_[token_id];
}

void Penalties::apply(std::span<float> logits) const {
  constexpr float kMax = std::numeric_limits<float>::max();
  for (const auto& [id, count] : counts_) {
    float x = logits[id];
    x = x > 0 ? x / repetition_ : x * repetition_;
    if (count > 0) x -= frequency_ * static_cast<float>(count) + presence_;
    logits[id] = std::clamp(x, -kMax, kMax);
  }
}

}  // namespace qwin
