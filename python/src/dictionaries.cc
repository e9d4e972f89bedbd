// SPDX-License-Identifier: Apache-2.0
#include "dictionaries.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace qwin::python {

nb::list to_list(const std::vector<TokenLogprobInfo>& logprobs) {
  nb::list list;
  for (const TokenLogprobInfo& info : logprobs) {
    nb::list top;
    for (const TokenProbability& p : info.top) top.append(nb::make_tuple(p.token_id, p.logprob));
    list.append(nb::make_tuple(info.chosen.token_id, info.chosen.logprob, top));
  }
  return list;
}

nb::dict to_dict(const AttentionPlan& plan) {
  nb::dict dict;
  dict["attention_type"] = attention_type_name(plan.type);
  dict["window"] = plan.window;
  dict["num_sink_tokens"] = plan.num_sink_tokens;
  dict["memory_top_k"] = plan.memory_top_k;
  dict["hybrid_from"] = plan.hybrid_from;
  dict["global_heads"] = plan.global_heads;
  nb::list spans;
  for (const TokenSpan& span : plan.global_spans) spans.append(nb::make_tuple(span.begin, span.end));
  dict["global_spans"] = spans;
  return dict;
}

nb::dict to_dict(const EngineInfo& info) {
  nb::dict dict;
  dict["model_name"] = info.model_name;
  dict["architecture"] = info.architecture;
  dict["path"] = info.path;
  dict["cpu"] = info.cpu;
  dict["isa"] = info.isa;
  dict["kv_type"] = info.kv_type;
  dict["num_parameters"] = info.num_parameters;
  dict["bits_per_weight"] = info.bits_per_weight;
  dict["file_bytes"] = info.file_bytes;
  dict["weight_bytes"] = info.weight_bytes;
  dict["kv_bytes_per_token"] = info.kv_bytes_per_token;
  dict["kv_memory_bytes"] = info.kv_memory_bytes;
  dict["kv_disk_bytes"] = info.kv_disk_bytes;
  dict["num_threads"] = info.num_threads;
  dict["max_batch_size"] = info.max_batch_size;
  dict["context_length"] = info.context_length;
  dict.update(to_dict(info.attention));
  dict["vocab_size"] = info.vocab_size;
  dict["hidden_size"] = info.hidden_size;
  dict["load_seconds"] = info.load_seconds;
  return dict;
}

nb::dict to_dict(const EngineStats& stats) {
  nb::dict dict;
  dict["requests_running"] = stats.requests_running;
  dict["requests_waiting"] = stats.requests_waiting;
  dict["kv_pages_total"] = stats.kv_pages_total;
  dict["kv_pages_used"] = stats.kv_pages_used;
  dict["kv_pages_cached"] = stats.kv_pages_cached;
  dict["kv_page_size"] = stats.kv_page_size;
  dict["requests_cancelled"] = stats.requests_cancelled;
  dict["preemptions"] = stats.preemptions;
  dict["prompt_tokens"] = stats.prompt_tokens;
  dict["generated_tokens"] = stats.generated_tokens;
  dict["prefix_cache_queried_tokens"] = stats.prefix_cache_queried_tokens;
  dict["prefix_cache_hit_tokens"] = stats.prefix_cache_hit_tokens;
  dict["steps"] = stats.steps;
  return dict;
}

nb::dict to_dict(const GenerationResult& result) {
  nb::dict dict;
  dict["text"] = result.text;
  dict["token_ids"] = result.token_ids;
  dict["prompt_tokens"] = result.prompt_tokens;
  dict["cached_tokens"] = result.cached_tokens;
  dict["finish_reason"] = finish_reason_name(result.finish_reason);
  dict["stop_string"] = result.stop_string;
  dict["context_full"] = result.context_full;
  dict["attention"] = to_dict(result.attention);
  dict["logprobs"] = to_list(result.logprobs);
  dict["prompt_logprobs"] = to_list(result.prompt_logprobs);
  dict["queue_ms"] = result.timings.queue_ms;
  dict["ttft_ms"] = result.timings.ttft_ms;
  dict["prefill_tokens_per_second"] = result.timings.prefill_tokens_per_second;
  dict["decode_tokens_per_second"] = result.timings.decode_tokens_per_second;
  return dict;
}

}  // namespace qwin::python
