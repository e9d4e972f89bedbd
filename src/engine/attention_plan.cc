// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_plan.h"

#include "engine/global_tokens.h"
#include "ops/attention.h"

namespace qwin {

const char* attention_type_name(AttentionType type) {
  switch (type) {
    case AttentionType::full: return "full";
    case AttentionType::sliding_window: return "sliding_window";
    case AttentionType::hybrid: return "hybrid";
  }
  return "full";
}

AttentionType attention_type_of(const std::string& name) {
  for (const AttentionType type : {AttentionType::full, AttentionType::sliding_window, AttentionType::hybrid}) {
    if (name == attention_type_name(type)) return type;
  }
  throw Error(ErrorCode::invalid_argument,
              "attention_type must be full, sliding_window or hybrid, not " + name.substr(0, 64));
}

OverflowPolicy overflow_policy_of(const std::string& name) {
  if (name == "error") return OverflowPolicy::error;
  if (name == "window") return OverflowPolicy::window;
  throw Error(ErrorCode::invalid_argument, "overflow_policy must be error or window, not " + name.substr(0, 64));
}

namespace {

constexpr int64_t kDefaultWindow = 1024;
// What a step keeps of its choices grows with it: 32 MiB with 8 KV heads.
constexpr int64_t kMaxTopK = 4096;

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::invalid_argument, why); }

// `least_top_k`: 0 where something else may see what has left the window; else it would not be hybrid.
void check(const AttentionPlan& plan, int64_t least_top_k) {
  if (plan.type == AttentionType::full) return;
  if (plan.window == 0) refuse(std::string("window must be at least 1 with ") + attention_type_name(plan.type));
  if (plan.type != AttentionType::hybrid) return;
  if (plan.window < kPageSize) refuse("window must be at least " + std::to_string(kPageSize) + " with hybrid");
  if (plan.memory_top_k < least_top_k || plan.memory_top_k > kMaxTopK) {
    refuse("memory_top_k must be between " + std::to_string(least_top_k) + " and " + std::to_string(kMaxTopK) +
           ", not " + std::to_string(plan.memory_top_k) +
           (plan.memory_top_k == 0 ? ", without global tokens or heads" : ""));
  }
}

// `window`: 0 = not said.
AttentionPlan plan_of(AttentionType type, int64_t window, const EngineOptions& options) {
  if (type == AttentionType::full) return {};
  AttentionPlan plan{.type = type,
                     .window = window > 0 ? window : kDefaultWindow,
                     .num_sink_tokens = options.num_sink_tokens,
                     .memory_top_k = 0,
                     .hybrid_from = 0,
                     .global_heads = 0,
                     .global_spans = {}};
  if (type != AttentionType::hybrid) return plan;
  plan.memory_top_k = options.memory_top_k;
  plan.hybrid_from = options.hybrid_from;
  plan.global_heads = options.global_heads;
  return plan;
}

}  // namespace

AttentionPlan engine_plan(const EngineOptions& options) {
  const int64_t window = options.window.value_or(0);
  const auto type = options.attention_type.value_or(window > 0 ? AttentionType::sliding_window : AttentionType::full);
  if (type == AttentionType::full && window > 0) refuse("window does not go with full attention");
  if (type != AttentionType::full && options.window == 0)
    refuse(std::string("window 0 is exact attention, which ") + attention_type_name(type) +
           " is not: leave one of them out");
  if (type != AttentionType::hybrid && options.global_heads > 0) refuse("global_heads needs attention_type hybrid");
  const AttentionPlan plan = plan_of(type, window, options);
  check(plan, 0);  // a request may bring global tokens
  return plan;
}

AttentionPlan request_plan(const EngineOptions& options, const Request& request, std::vector<TokenSpan> global_spans) {
  const AttentionPlan usual = engine_plan(options);
  AttentionType type = usual.type;
  if (request.attention_type) {
    type = *request.attention_type;
  } else if (request.window) {
    if (*request.window == 0) type = AttentionType::full;
    if (*request.window > 0 && type == AttentionType::full) type = AttentionType::sliding_window;
  }
  if (type == AttentionType::full && request.window.value_or(0) > 0) refuse("window does not go with full attention");
  if (type == AttentionType::full && request.num_sink_tokens) refuse("num_sink_tokens needs a window");
  if (type != AttentionType::hybrid && request.memory_top_k) refuse("memory_top_k needs attention_type hybrid");
  if (type != AttentionType::hybrid && request.global_heads) refuse("global_heads needs attention_type hybrid");
  if (type != AttentionType::hybrid && !global_spans.empty())
    refuse("global_spans, global_texts and global_messages need attention_type hybrid");
  AttentionPlan plan = plan_of(type, usual.window, options);
  plan.global_spans = std::move(global_spans);
  if (type != AttentionType::full) {
    plan.window = request.window.value_or(plan.window);
    plan.num_sink_tokens = request.num_sink_tokens.value_or(plan.num_sink_tokens);
    plan.memory_top_k = request.memory_top_k.value_or(plan.memory_top_k);
    plan.global_heads = request.global_heads.value_or(plan.global_heads);
  }
  check(plan, plan.global_heads > 0 || !plan.global_spans.empty() ? 0 : 1);
  return plan;
}

AttentionPlan overflow_plan(const EngineOptions& options, const AttentionPlan& asked) {
  return plan_of(AttentionType::sliding_window, asked.window, options);
}

CachePlan cache_plan(const AttentionPlan& plan, const std::string& salt) {
  return {.salt = salt,
          .window = plan.window,
          .num_sinks = plan.num_sink_tokens,
          .memory_top_k = plan.memory_top_k,
          .hybrid_from = plan.hybrid_from,
          .global_heads = plan.global_heads,
          .global_parts = global_parts(plan.global_spans)};
}

}  // namespace qwin
