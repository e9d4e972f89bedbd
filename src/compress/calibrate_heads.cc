// SPDX-License-Identifier: Apache-2.0
#include "compress/calibrate_heads.h"

#include <algorithm>

#include "core/cpu_info.h"
#include "model/checkpoint_names.h"
#include "runner/runner.h"
#include "tokenizer/tokenizer.h"

namespace qwin {

namespace {

// `num_tokens`: of the text, of which `most` may be read, in whole steps.
void check(const HeadCalibrationOptions& options, int64_t num_tokens, int64_t most) {
  const auto refuse = [](const std::string& why) { throw Error(ErrorCode::invalid_argument, why); };
  if (options.window < kPageSize) refuse("window must be at least " + std::to_string(kPageSize));
  if (options.num_sink_tokens < 0) refuse("num_sink_tokens must be at least 0");
  if (options.memory_top_k < 0 || options.memory_top_k > 4096) refuse("memory_top_k must be between 0 and 4096");
  // In the second half, which is measured, there has to be more than a query may find again.
  const int64_t seen = options.window + options.num_sink_tokens + kPartSize * options.memory_top_k;
  constexpr auto kStep = static_cast<int64_t>(kMaxBatchTokens);
  const int64_t needed = (2 * seen / kStep + 1) * kStep;
  const std::string why = " are needed, since window, sinks and memory show " + std::to_string(seen);
  if (num_tokens < needed)
    refuse("the text has " + std::to_string(num_tokens) + " tokens; " + std::to_string(needed) + why);
  if (most < needed)
    refuse("at most " + std::to_string(most) + " tokens are to be read; " + std::to_string(needed) + why);
}

}  // namespace

HeadMeasurement calibrate_heads(const ModelFiles& files, const ModelConfig& config, std::string_view text,
                                const HeadCalibrationOptions& options,
                                const std::function<void(int64_t done, int64_t total)>& on_tokens) {
  check_tensors(config, files);
  std::vector<int32_t> token_ids = Tokenizer::load(files)->encode(text, true);
  const int64_t most = std::min<int64_t>(options.num_tokens, config.max_positions);
  check(options, static_cast<int64_t>(token_ids.size()), most);
  token_ids.resize(std::min(token_ids.size(), static_cast<size_t>(most)) / kMaxBatchTokens * kMaxBatchTokens);

  Runner runner(config, files, {.isa = choose_cpu_isa(), .num_threads = options.num_threads, .cores = allowed_cores()},
                {});
  std::vector<int32_t> pages(token_ids.size() / kPageSize);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(i);
  runner.allocate_pages(static_cast<int32_t>(pages.size()));

  HeadMeasurement result{.window = options.window,
                         .num_sink_tokens = options.num_sink_tokens,
                         .memory_top_k = options.memory_top_k,
                         .num_tokens = static_cast<int64_t>(token_ids.size()),
                         .lost = std::vector<double>(size_t{config.num_layers} * config.num_kv_heads)};
  const size_t group = config.num_heads / config.num_kv_heads;
  const size_t first_measured = token_ids.size() / 2 / kMaxBatchTokens * kMaxBatchTokens;
  const auto add = [&](size_t layer, const Matrix& kept) {
    for (size_t head = 0; head < kept.columns; ++head) {
      double& lost = result.lost[layer * config.num_kv_heads + head / group];
      for (size_t token = 0; token < kept.rows; ++token) lost += 1.0 - static_cast<double>(kept.row(token)[head]);
    }
  };
  const QueryRange plan{.window = options.window,
                        .num_sinks = options.num_sink_tokens,
                        .memory = {.top_k = static_cast<int32_t>(options.memory_top_k)}};
  Batch batch;
  for (size_t first = 0; first < token_ids.size(); first += kMaxBatchTokens) {
    if (first == first_measured) runner.observe_kept(plan, add);
    const auto begin = token_ids.begin() + static_cast<ptrdiff_t>(first);
    batch.token_ids.assign(begin, begin + kMaxBatchTokens);
    batch.ranges.assign(
        1, {.pages = pages.data(), .first_position = static_cast<int64_t>(first), .num_tokens = kMaxBatchTokens});
    runner.run(batch);
    if (on_tokens) on_tokens(static_cast<int64_t>(first + kMaxBatchTokens), static_cast<int64_t>(token_ids.size()));
  }
  const size_t counted = (token_ids.size() - first_measured) * group;  // shares of each KV head
  for (double& lost : result.lost) lost /= static_cast<double>(counted);
  return result;
}

}  // namespace qwin
