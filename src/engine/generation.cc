// SPDX-License-Identifier: Apache-2.0
#include "engine/generation.h"

#include <algorithm>
#include <utility>

namespace qwin {

namespace {

// Requests without a seed are repeatable too: the same request gives the same answer.
constexpr uint64_t kDefaultSeed = 0;
// An open <think> at a prompt's end, and the line breaks behind it, are no longer.
constexpr size_t kOpeningTokens = 8;

TokenLogprobInfo to_info(const TokenLogprobs& logprobs) {
  TokenLogprobInfo info{.chosen = {logprobs.chosen.token_id, logprobs.chosen.logprob}, .top = {}};
  for (const TokenLogprob& entry : logprobs.top) info.top.push_back({entry.token_id, entry.logprob});
  return info;
}

}  // namespace

Generation::Generation(std::shared_ptr<const Tokenizer> tokenizer, std::span<const int32_t> eos_ids,
                       const Request& request)
    : tokenizer_(std::move(tokenizer)),
      eos_ids_(eos_ids.begin(), eos_ids.end()),
      params_(request.sampling),
      keeps_logprobs_(request.keeps_logprobs),
      sampler_(params_, tokenizer_->num_ids(), kDefaultSeed, eos_ids_),
      detokenizer_(tokenizer_),
      stop_matcher_(params_.stop) {
  const std::span<const int32_t> prompt = request.prompt;
  sampler_.accept_prompt(prompt);
  result_.prompt_tokens = static_cast<int64_t>(prompt.size());
  if (request.splits_reasoning) {
    const std::string end = tokenizer_->decode(prompt.last(std::min(prompt.size(), kOpeningTokens)));
    reasoning_splitter_.emplace(ReasoningSplitter::prompt_opens(end));
  }
}

bool Generation::ends(int32_t token) const {
  if (std::ranges::find(params_.stop_token_ids, token) != params_.stop_token_ids.end()) return true;
  return !params_.ignore_eos && std::ranges::find(eos_ids_, token) != eos_ids_.end();
}

std::optional<int32_t> Generation::take(std::span<float> logits) {
  const int32_t token = sampler_.sample(logits);
  if (ends(token)) {
    end(FinishReason::stop);
    return std::nullopt;
  }
  sampler_.accept(token);
  result_.token_ids.push_back(token);
  output_.token_ids.push_back(token);
  if (params_.logprobs >= 0) {
    output_.logprobs.push_back(to_info(sampler_.logprobs()));
    if (keeps_logprobs_) result_.logprobs.push_back(output_.logprobs.back());
  }
  emit(stop_matcher_.feed(detokenizer_.push(token)));
  if (stop_matcher_.stopped()) {
    close_text();
    result_.stop_string = stop_matcher_.matched_stop();
    result_.finish_reason = FinishReason::stop;
    return std::nullopt;
  }
  if (static_cast<int64_t>(result_.token_ids.size()) >= params_.max_tokens) {
    end(FinishReason::length);
    return std::nullopt;
  }
  return token;
}

void Generation::end(FinishReason reason) {
  result_.finish_reason = reason;
  emit(stop_matcher_.feed(detokenizer_.flush()));
  if (!stop_matcher_.stopped()) emit(stop_matcher_.flush());
  close_text();
}

void Generation::emit(const std::string& text) {
  put(reasoning_splitter_ ? reasoning_splitter_->feed(text) : ReasoningDelta{.reasoning = {}, .answer = text});
}

void Generation::close_text() {
  if (reasoning_splitter_) put(reasoning_splitter_->finish());
}

void Generation::put(const ReasoningDelta& delta) {
  result_.text += delta.answer;
  output_.text += delta.answer;
  result_.reasoning += delta.reasoning;
  output_.reasoning += delta.reasoning;
}

Output Generation::take_output() { return std::exchange(output_, {}); }

}  // namespace qwin
