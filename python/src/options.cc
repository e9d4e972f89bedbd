// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace qwin::python {

namespace {

KvCacheType kv_cache_type(const std::string& name) {
  if (name == "f32") return KvCacheType::f32;
  if (name == "f16") return KvCacheType::f16;
  if (name == "q8") return KvCacheType::q8;
  throw Error(ErrorCode::invalid_argument, "kv_type " + name + " is unknown; use \"f16\", \"q8\" or \"f32\"");
}

}  // namespace

SamplingParams sampling_params(SamplingParams params, const nb::dict& values) {
  take(values, "temperature", params.temperature);
  take(values, "top_k", params.top_k);
  take(values, "top_p", params.top_p);
  take(values, "min_p", params.min_p);
  take(values, "repetition_penalty", params.repetition_penalty);
  take(values, "presence_penalty", params.presence_penalty);
  take(values, "frequency_penalty", params.frequency_penalty);
  take(values, "logit_bias", params.logit_bias);
  take(values, "max_tokens", params.max_tokens);
  take(values, "min_tokens", params.min_tokens);
  take(values, "stop", params.stop);
  take(values, "stop_token_ids", params.stop_token_ids);
  take(values, "ignore_eos", params.ignore_eos);
  take(values, "logprobs", params.logprobs);
  if (values.contains("seed")) params.seed = cast_argument<uint64_t>("seed", values["seed"]);
  return params;
}

Request request_options(const Engine& engine, const nb::dict& sampling, const nb::dict& rest) {
  Request request{.prompt = {}, .sampling = sampling_params(engine.default_sampling(), sampling)};
  if (rest.contains("window")) request.window = cast_argument<int64_t>("window_size", rest["window"]);
  const auto optional = [&](const char* name, std::optional<int64_t>& to) {
    if (rest.contains(name)) to = cast_argument<int64_t>(name, rest[name]);
  };
  optional("num_sink_tokens", request.num_sink_tokens);
  optional("memory_top_k", request.memory_top_k);
  optional("global_heads", request.global_heads);
  std::vector<std::pair<int64_t, int64_t>> spans;
  take(rest, "global_spans", spans);
  for (const auto& [begin, end] : spans) request.global.spans.push_back({begin, end});
  take(rest, "global_texts", request.global.texts);
  std::vector<std::string> messages;
  take(rest, "global_messages", messages);
  for (const std::string& name : messages) add_global_message(request.global, name);
  std::string attention_type, overflow_policy;
  take(rest, "attention_type", attention_type);
  take(rest, "overflow_policy", overflow_policy);
  if (!attention_type.empty()) request.attention_type = attention_type_of(attention_type);
  if (!overflow_policy.empty()) request.overflow_policy = overflow_policy_of(overflow_policy);
  take(rest, "prompt_logprobs", request.prompt_logprobs);
  take(rest, "client", request.client);
  take(rest, "priority", request.priority);
  take(rest, "cache_salt", request.cache_salt);
  take(rest, "timeout_seconds", request.timeout_seconds);
  return request;
}

EngineOptions engine_options(const nb::dict& values) {
  EngineOptions options;
  take(values, "num_threads", options.num_threads);
  take(values, "context_length", options.context_length);
  if (values.contains("window")) options.window = cast_argument<int64_t>("window_size", values["window"]);
  take(values, "num_sink_tokens", options.num_sink_tokens);
  take(values, "memory_top_k", options.memory_top_k);
  take(values, "hybrid_from", options.hybrid_from);
  take(values, "global_heads", options.global_heads);
  std::string attention_type = "full", overflow_policy = "error";
  take(values, "attention_type", attention_type);
  take(values, "overflow_policy", overflow_policy);
  options.attention_type = attention_type_of(attention_type);
  options.overflow_policy = overflow_policy_of(overflow_policy);
  take(values, "kv_memory_bytes", options.kv_memory_bytes);
  take(values, "kv_directory", options.kv_directory);
  take(values, "max_batch_size", options.max_batch_size);
  take(values, "batch_timeout_seconds", options.batch_timeout_seconds);
  take(values, "max_queue_length", options.max_queue_length);
  take(values, "max_step_seconds", options.max_step_seconds);
  take(values, "prefix_cache", options.prefix_cache);
  take(values, "cache_directory", options.cache_directory);
  take(values, "cache_max_bytes", options.cache_max_bytes);
  std::string kv_type = "f16";
  take(values, "kv_type", kv_type);
  options.kv_type = kv_cache_type(kv_type);
  take(values, "quantize_bits", options.quantize_bits);
  return options;
}

}  // namespace qwin::python
