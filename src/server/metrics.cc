// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace qwin::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const prometheus::Histogram::BucketBoundaries kFirstTokenSeconds{0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5,
                                                                 1,    2.5,   5,    10,  30,  60,  300};
const prometheus::Histogram::BucketBoundaries kPerTokenSeconds{0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
                                                               0.1,   0.15,  0.2,  0.3,   0.5,  1,    5};

// The reasons there are, so that a rate can be taken from the first one on.
constexpr const char* kRejections[] = {"missing", "io", "size", "header", "name", "tokens", "payload"};

MetricFamily family(const char* name, const char* help, MetricType type, double value) {
  ClientMetric metric;
  if (type == MetricType::Counter) metric.counter.value = value;
  if (type == MetricType::Gauge) metric.gauge.value = value;
  return {.name = name, .help = help, .type = type, .metric = {metric}};
}

std::vector<MetricFamily> engine_families(const EngineStats& stats) {
  const auto gauge = [](const char* name, const char* help, auto value) {
    return family(name, help, MetricType::Gauge, static_cast<double>(value));
  };
  const auto counter = [](const char* name, const char* help, auto value) {
    return family(name, help, MetricType::Counter, static_cast<double>(value));
  };
  std::vector<MetricFamily> families{
      gauge("qwin_requests_running", "Requests that take part in steps", stats.requests_running),
      gauge("qwin_requests_waiting", "Requests that wait for a place in the batch", stats.requests_waiting),
      gauge("qwin_requests_held", "Requests that stay out of steps since their reader is too slow",
            stats.requests_held),
      gauge("qwin_kv_pages_total", "Pages of keys and values there are", stats.kv_pages_total),
      gauge("qwin_kv_pages_used", "Pages held by running requests", stats.kv_pages_used),
      gauge("qwin_kv_pages_cached", "Pages held by the prefix cache alone", stats.kv_pages_cached),
      gauge("qwin_kv_page_size", "Tokens of a page", stats.kv_page_size),
      counter("qwin_requests_cancelled_total", "Requests ended by their client", stats.requests_cancelled),
      counter("qwin_preemptions_total", "Requests that had to give up their pages for a while", stats.preemptions),
      counter("qwin_prompt_tokens_total", "Tokens of prompts", stats.prompt_tokens),
      counter("qwin_generation_tokens_total", "Tokens written", stats.generated_tokens),
      counter("qwin_prefix_cache_queries", "Prompt tokens looked up in the prefix cache",
              stats.prefix_cache_queried_tokens),
      counter("qwin_prefix_cache_hits", "Prompt tokens found there", stats.prefix_cache_hit_tokens),
      gauge("qwin_prefix_cache_disk_bytes", "Bytes of files of the prefix cache", stats.prefix_cache_disk_bytes),
      counter("qwin_prefix_cache_write_errors_total", "Files of the prefix cache that could not be written",
              stats.prefix_cache_write_errors),
      counter("qwin_steps_total", "Steps of the engine", stats.steps),
      gauge("qwin_waiting_seconds", "Estimated wait of a request that comes now", stats.waiting_seconds),
  };
  MetricFamily rejected{.name = "qwin_prefix_cache_rejected_total",
                        .help = "Files of the prefix cache that were not as they should be",
                        .type = MetricType::Counter,
                        .metric = {}};
  std::map<std::string, uint64_t> counts = stats.prefix_cache_rejected;
  for (const char* reason : kRejections) counts.try_emplace(reason, 0);
  for (const auto& [reason, count] : counts) {
    ClientMetric metric;
    metric.label = {{"reason", reason}};
    metric.counter.value = static_cast<double>(count);
    rejected.metric.push_back(metric);
  }
  families.push_back(std::move(rejected));
  return families;
}

}  // namespace

Metrics::Metrics() {
  streams_stalled = &prometheus::BuildCounter()
                         .Name("qwin_streams_stalled_total")
                         .Help("Connections closed because their reader took nothing")
                         .Register(registry_)
                         .Add({});
  time_to_first_token_ = &prometheus::BuildHistogram()
                              .Name("qwin_time_to_first_token_seconds")
                              .Help("From a request's arrival to its first token")
                              .Register(registry_)
                              .Add({}, kFirstTokenSeconds);
  time_per_output_token_ = &prometheus::BuildHistogram()
                                .Name("qwin_time_per_output_token_seconds")
                                .Help("Mean time of a request's tokens after the first")
                                .Register(registry_)
                                .Add({}, kPerTokenSeconds);
}

void Metrics::observe(const GenerationResult& result) {
  if (result.token_ids.empty()) return;
  time_to_first_token_->Observe(result.timings.ttft_ms * 1e-3);
  if (result.token_ids.size() > 1 && result.timings.decode_tokens_per_second > 0) {
    time_per_output_token_->Observe(1 / result.timings.decode_tokens_per_second);
  }
}

std::string Metrics::text(const EngineStats& stats) const {
  std::vector<MetricFamily> families = engine_families(stats);
  for (MetricFamily& own : registry_.Collect()) families.push_back(std::move(own));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace qwin::server
