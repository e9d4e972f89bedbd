// SPDX-License-Identifier: Apache-2.0
// One answer in the making: logits in, tokens and text out, until something ends it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "chat/reasoning.h"
#include "qwin/request.h"
#include "sampling/sampler.h"
#include "sampling/stop_matcher.h"
#include "tokenizer/detokenizer.h"

namespace qwin {

class Generation {
 public:
  Generation(std::shared_ptr<const Tokenizer> tokenizer, std::span<const int32_t> eos_ids, const Request& request);

  // Chooses a token from the logits (which it modifies) and returns it, to be run next; nullopt when the answer has
  // ended. Throws Error(numerical).
  std::optional<int32_t> take(std::span<float> logits);
  // Ends the answer from outside; text held back is released.
  void end(FinishReason reason);

  GenerationResult& result() { return result_; }
  // What has come since the last call.
  Output take_output();

 private:
  bool ends(int32_t token) const;
  void emit(const std::string& text);
  void put(const ReasoningDelta& delta);
  // No more text comes: what was held back does.
  void close_text();

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<int32_t> eos_ids_;
  SamplingParams params_;
  bool keeps_logprobs_;
  Sampler sampler_;
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  std::optional<ReasoningSplitter> reasoning_splitter_;
  GenerationResult result_;
  Output output_;
};

}  // namespace qwin
