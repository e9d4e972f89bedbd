// SPDX-License-Identifier: Apache-2.0
// A request to the engine, and what comes back while it runs and at its end.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "qwin/sampling_params.h"

namespace qwin {

// What a token sees of those before it.
enum class AttentionType {
  full,            // everything
  sliding_window,  // the first tokens and the last ones; what leaves the window is forgotten
  hybrid,          // the same, and what it finds again of all that lies between: nothing is forgotten
};
const char* attention_type_name(AttentionType type);
// Throws Error(invalid_argument).
AttentionType attention_type_of(const std::string& name);

// Tokens [begin, end) of a prompt.
struct TokenSpan {
  int64_t begin = 0, end = 0;
  bool operator==(const TokenSpan&) const = default;
};

struct AttentionPlan {
  AttentionType type = AttentionType::full;
  int64_t window = 0;           // last tokens that are seen always, itself included; 0 with full
  int64_t num_sink_tokens = 0;  // first tokens that are seen always
  int64_t memory_top_k = 0;     // hybrid: pieces of 16 tokens that a token finds again, for each KV head
  int64_t hybrid_from = 0;      // hybrid: tokens before this position see everything
  // hybrid: KV heads of all layers that see everything, those first that need it most (`qwin calibrate-heads`)
  int64_t global_heads = 0;
  std::vector<TokenSpan> global_spans = {};  // hybrid: tokens that every later one sees, in order

  bool forgets() const { return type == AttentionType::sliding_window; }
  bool operator==(const AttentionPlan&) const = default;
};

// What becomes of a prompt that is longer than the context.
enum class OverflowPolicy {
  error,   // it is refused
  window,  // it is read with a sliding window
};
// Throws Error(invalid_argument).
OverflowPolicy overflow_policy_of(const std::string& name);

// Tokens of a prompt that every later one is to see, whatever has left the window.
struct GlobalTokens {
  std::vector<TokenSpan> spans = {};
  std::vector<std::string> texts = {};  // wherever they stand in the prompt
  bool system = false;                  // of a chat: the system message
  bool question = false;                // and the user's last one

  bool empty() const { return spans.empty() && texts.empty() && !system && !question; }
};
// Adds "system" or "question". Throws Error(invalid_argument) for another name.
void add_global_message(GlobalTokens& global, const std::string& name);

struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling = {};
  // How tokens see each other; what is absent is as the engine was loaded.
  std::optional<AttentionType> attention_type = {};
  std::optional<int64_t> window = {};  // without a type, 0 means full, and another number not full
  std::optional<int64_t> num_sink_tokens = {}, memory_top_k = {}, global_heads = {};
  GlobalTokens global = {};
  std::optional<OverflowPolicy> overflow_policy = {};
  bool prompt_logprobs = false;   // of the prompt's tokens too, with sampling.logprobs alternatives each
  bool keeps_logprobs = true;     // false: on_output alone brings the answer's, so that a long one takes no memory
  std::string client = {};        // clients share the machine evenly
  int priority = 0;               // higher ones go first
  std::string cache_salt = {};    // only requests with the same salt share what the prefix cache holds
  double timeout_seconds = 0;     // from submit() to the end; 0: none
  bool splits_reasoning = false;  // <think>…</think> at the answer's beginning is told apart from its text
};

struct TokenProbability {
  int32_t token_id = 0;
  float logprob = 0;  // natural logarithm, of the model's own distribution
};

struct TokenLogprobInfo {
  TokenProbability chosen;
  std::vector<TokenProbability> top;  // best first
};

enum class FinishReason {
  stop,       // an end-of-text token or a stop string
  length,     // max_tokens or the context's end
  cancelled,  // asked for by the caller
};
const char* finish_reason_name(FinishReason reason);

// What one step brought. Text is certain: whole characters, never part of a stop string, so it may lag behind the
// tokens.
struct Output {
  int64_t num_prompt_tokens_read = 0;           // of the prompt, cached ones included
  std::string text = {};                        // new text; empty while the prompt is read
  std::string reasoning = {};                   // new thoughts, with splits_reasoning
  std::vector<int32_t> token_ids = {};          // new tokens
  std::vector<TokenLogprobInfo> logprobs = {};  // [token_ids.size()] when asked for
};

struct GenerationTimings {
  double queue_ms = 0;                   // from submit() until a place in the batch was free
  double ttft_ms = 0;                    // from submit() to the first token
  double prefill_tokens_per_second = 0;  // tokens read, without cached ones
  double decode_tokens_per_second = 0;   // tokens after the first
};

struct GenerationResult {
  std::string text;
  std::string reasoning = {};      // with splits_reasoning: what stood between <think> and </think>
  std::vector<int32_t> token_ids;  // without the end-of-text token
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, taken from the prefix cache
  FinishReason finish_reason = FinishReason::stop;
  bool context_full = false;                      // `length` because the context ended
  AttentionPlan attention = {};                   // how it was read and written
  std::string stop_string;                        // the stop string that ended the answer, if one did
  std::vector<TokenLogprobInfo> logprobs;         // [token_ids.size()] when asked for and kept
  std::vector<TokenLogprobInfo> prompt_logprobs;  // [prompt_tokens - 1], of tokens 1 …, when asked for
  GenerationTimings timings;
};

using RequestId = uint64_t;

// Called on the engine's thread (on_end also on that of cancel()): they must be quick and must not throw. They may call
// cancel() and hold(), but wait for nothing.
struct RequestEvents {
  std::function<void(const Output& output)> on_output = {};
  // Once, last. `error` holds an Error when the request failed; the result is then what was there until it did.
  std::function<void(GenerationResult result, std::exception_ptr error)> on_end = {};
};

}  // namespace qwin
