// SPDX-License-Identifier: Apache-2.0
#include "sampling/sampler.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "qwin/error.h"
#include "sampling/candidates.h"
#include "sampling/float_order.h"
#include "sampling/random.h"

namespace qwin {
namespace {

// The lowest id among the highest logits. Requires: no NaN, at least one.
int32_t argmax(std::span<const float> x) {
  return static_cast<int32_t>(std::find(x.begin(), x.end(), highest_of(x)) - x.begin());
}

// What one sample() leaves to the next.
struct Scratch {
  Candidates candidates;
  std::vector<float> raw_logits;  // [num_token_ids]: before penalties, bias and bans
  std::vector<int32_t> top_ids;
};

Scratch& scratch() {
  static thread_local Scratch one;
  return one;
}

}  // namespace

Sampler::Sampler(const SamplingParams& params, uint32_t num_token_ids, uint64_t default_seed,
                 std::span<const int32_t> eos_token_ids)
    : params_(params),
      num_token_ids_(num_token_ids),
      seed_(params.seed.value_or(default_seed)),
      end_token_ids_(eos_token_ids.begin(), eos_token_ids.end()),
      penalties_(params, num_token_ids) {
  params.validate();
  if (num_token_ids == 0) throw Error(ErrorCode::invalid_argument, "num_token_ids must be at least 1, not 0");
  end_token_ids_.insert(end_token_ids_.end(), params.stop_token_ids.begin(), params.stop_token_ids.end());
  std::erase_if(end_token_ids_, [=](int32_t id) { return id < 0 || static_cast<uint32_t>(id) >= num_token_ids; });
  std::erase_if(params_.logit_bias, [=](const auto& b) { return static_cast<uint32_t>(b.first) >= num_token_ids; });
}

void Sampler::accept(int32_t token_id) {
  penalties_.add_output(token_id);
  ++num_outputs_;
}

int32_t Sampler::sample(std::span<float> logits) {
  if (logits.size() < num_token_ids_) {
    throw Error(ErrorCode::invalid_argument, "logits of " + std::to_string(logits.size()) +
                                                 " tokens, expected at least " + std::to_string(num_token_ids_));
  }
  if (!all_finite(logits)) throw Error(ErrorCode::numerical, "the model's logits are not finite");
  const std::span<float> choices = logits.first(num_token_ids_);
  std::vector<float>& raw = scratch().raw_logits;
  double sum = 0;
  if (params_.logprobs >= 0) {
    // Over all rows, padding too, as log_softmax of the model's output does; only real ids are listed.
    sum = log_sum_exp(logits);
    raw.assign(choices.begin(), choices.end());
  }
  adjust(choices);
  const int32_t token_id = params_.temperature == 0 ? argmax(choices) : draw(choices);
  if (choices[token_id] == -std::numeric_limits<float>::infinity()) {
    throw Error(ErrorCode::invalid_argument, "stop_token_ids and min_tokens together ban every token");
  }
  if (params_.logprobs >= 0) keep_logprobs(raw, sum, token_id);
  return token_id;
}

// Penalties, then bias, then bans: a bias can outweigh a penalty, nothing outweighs a ban.
void Sampler::adjust(std::span<float> logits) const {
  penalties_.apply(logits);
  constexpr float kMax = std::numeric_limits<float>::max();
  for (const auto& [id, bias] : params_.logit_bias) logits[id] = std::clamp(logits[id] + bias, -kMax, kMax);
  if (num_outputs_ < static_cast<uint64_t>(params_.min_tokens)) {
    for (int32_t id : end_token_ids_) logits[id] = -std::numeric_limits<float>::infinity();
  }
}

// Temperature, top-k, top-p, min-p, as in transformers. Temperature comes first, so top_p and min_p mean shares of the
// distribution drawn from; top_p counts within the top_k left; min_p relates to the highest probability, which no step
// changes, so its place only matters to top_p: before min_p, top_p sees the whole tail.
int32_t Sampler::draw(std::span<const float> logits) const {
  Candidates& candidates = scratch().candidates;
  if (params_.top_k > 0) {
    candidates.load_top_k(logits, static_cast<size_t>(params_.top_k));
  } else {
    candidates.load(logits);
  }
  if (candidates.size() == 0) return 0;  // all banned: sample() tells
  candidates.set_weights(params_.temperature);
  candidates.keep_top_p(params_.top_p);
  candidates.keep_min_p(params_.min_p);
  return candidates.draw(uniform_at(seed_, num_outputs_));
}

void Sampler::keep_logprobs(std::span<const float> raw_logits, double sum, int32_t chosen) {
  const auto entry = [&](int32_t id) { return TokenLogprob{id, static_cast<float>(raw_logits[id] - sum)}; };
  std::vector<int32_t>& best = scratch().top_ids;
  top_ids(raw_logits, static_cast<size_t>(params_.logprobs), &scratch().candidates, &best);
  logprobs_.chosen = entry(chosen);
  logprobs_.top.clear();
  for (int32_t id : best) logprobs_.top.push_back(entry(id));
}

}  // namespace qwin
