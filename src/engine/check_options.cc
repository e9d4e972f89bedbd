// SPDX-License-Identifier: Apache-2.0
#include "engine/check_options.h"

#include <sstream>

namespace qwin {

namespace {

// Far above every machine and model, far below what overflows when multiplied.
constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxTokens = int64_t{1} << 24;
constexpr int64_t kMaxSinks = 65536;
constexpr int64_t kMaxHeads = 65536;
constexpr int64_t kMaxSequences = 4096;
constexpr int64_t kMaxQueue = 1 << 20;
constexpr double kMaxSeconds = 1e6;

// Not-a-number is outside every range.
template <typename T>
void check_range(const char* name, T value, T low, T high) {
  if (value >= low && value <= high) return;
  std::ostringstream text;
  text << name << " must be between " << low << " and " << high << ", not " << value;
  throw Error(ErrorCode::invalid_argument, text.str());
}

}  // namespace

void check_options(const EngineOptions& options) {
  check_range<int64_t>("num_threads", options.num_threads, 0, kMaxThreads);
  check_range<int64_t>("context_length", options.context_length, 0, kMaxTokens);
  check_range<int64_t>("window", options.window.value_or(0), 0, kMaxTokens);
  check_range<int64_t>("num_sink_tokens", options.num_sink_tokens, 0, kMaxSinks);
  check_range<int64_t>("hybrid_from", options.hybrid_from, 0, kMaxTokens);
  check_range<int64_t>("global_heads", options.global_heads, 0, kMaxHeads);
  check_range<int64_t>("max_batch_size", options.max_batch_size, 1, kMaxSequences);
  check_range<int64_t>("max_queue_length", options.max_queue_length, 0, kMaxQueue);
  check_range("batch_timeout_seconds", options.batch_timeout_seconds, 0.0, kMaxSeconds);
  check_range("max_step_seconds", options.max_step_seconds, 0.0, kMaxSeconds);
}

void check_request(const Request& request) {
  if (request.window) check_range<int64_t>("window", *request.window, 0, kMaxTokens);
  if (request.num_sink_tokens) check_range<int64_t>("num_sink_tokens", *request.num_sink_tokens, 0, kMaxSinks);
  if (request.global_heads) check_range<int64_t>("global_heads", *request.global_heads, 0, kMaxHeads);
  check_range("timeout_seconds", request.timeout_seconds, 0.0, kMaxSeconds);
}

}  // namespace qwin
