// SPDX-License-Identifier: Apache-2.0
#include "bench/model_bench.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <string>

#include "core/check.h"
#include "core/cpu_info.h"
#include "qwin/error.h"

namespace qwin {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int64_t largest(const std::vector<int64_t>& values) { return values.empty() ? 0 : *std::ranges::max_element(values); }

int64_t pages_for(int64_t tokens) { return (tokens + kPageSize - 1) / kPageSize; }

// Tokens of the first sequence, which prefill uses alone, and of each of the others.
struct Lengths {
  int64_t first = 0, others = 0, sequences = 1;
};

Lengths lengths(const BenchPlan& plan) {
  const int64_t decode = plan.depths.empty() || plan.batches.empty() ? 0 : largest(plan.depths) + plan.new_tokens + 1;
  const int64_t prefill = plan.prompts.empty() ? 0 : largest(plan.prompts) + largest(plan.depths);
  return {std::max(prefill, decode), decode, std::max<int64_t>(1, largest(plan.batches))};
}

void check_plan(const BenchPlan& plan, const ModelConfig& config) {
  const int64_t own = config.max_positions;
  const int64_t context = plan.context_length > 0 ? std::min(plan.context_length, own) : own;
  if (const int64_t needed = lengths(plan).first; needed > context) {
    throw Error(ErrorCode::invalid_argument, "the tests need " + std::to_string(needed) +
                                                 " tokens of context, there are " + std::to_string(context) +
                                                 "; use shorter prompts (-p) or depths (-d)");
  }
  if (largest(plan.batches) > static_cast<int64_t>(kMaxBatchTokens)) {
    throw Error(ErrorCode::invalid_argument, "a step takes at most " + std::to_string(kMaxBatchTokens) +
                                                 " sequences, not " + std::to_string(largest(plan.batches)));
  }
}

void check_memory(const ModelConfig& config, const ModelFiles& files, const RunnerOptions& options,
                  uint64_t kv_memory) {
  const uint64_t needed = weight_memory_bytes(config, files, options.weight_form()) +
                          activation_memory_bytes(config, kMaxBatchTokens, kMaxLogitRows) + kv_memory;
  const uint64_t available = memory_info().available_bytes;
  if (needed <= available) return;
  throw Error(ErrorCode::does_not_fit, "the model and " + std::to_string(kv_memory) + " bytes of K and V need " +
                                           std::to_string(needed) + " bytes, " + std::to_string(available) +
                                           " are available; use a smaller batch (-b) or depth (-d)");
}

}  // namespace

ModelBench::ModelBench(const ModelFiles& files, const RunnerOptions& options, const BenchPlan& plan,
                       const LoadProgress& on_load)
    : plan_(plan), config_(read_model_config(files)) {
  check_tensors(config_, files);
  check_plan(plan, config_);
  const KvShape shape = kv_shape(config_, files, options.kv_type);
  const Lengths length = lengths(plan);
  const int64_t num_pages = pages_for(length.first) + (length.sequences - 1) * pages_for(length.others);
  check_memory(config_, files, options, static_cast<uint64_t>(num_pages) * shape.page_bytes());

  work_ = model_work(config_, files, options.weight_form(), shape.token_bytes());
  runner_ = std::make_unique<Runner>(config_, files, options, on_load);
  runner_->allocate_pages(static_cast<int32_t>(num_pages));
  int32_t next_page = 0;
  for (int64_t i = 0; i < length.sequences; ++i) {
    sequences_.emplace_back(static_cast<size_t>(pages_for(i == 0 ? length.first : length.others)));
    for (int32_t& page : sequences_.back()) page = next_page++;
  }
  std::mt19937_64 random(plan.seed);
  prompt_.resize(static_cast<size_t>(length.first));
  for (int32_t& id : prompt_) id = static_cast<int32_t>(random() % config_.vocab_size);
}

QueryRange ModelBench::range(size_t sequence, int64_t position, size_t first_row, size_t num_tokens) const {
  return {.pages = sequences_[sequence].data(),
          .first_position = position,
          .first_row = first_row,
          .num_tokens = num_tokens,
          .window = plan_.window,
          .num_sinks = plan_.num_sinks,
          .memory = plan_.memory};
}

int64_t ModelBench::keys_read(int64_t position, int64_t num_tokens) const {
  if (plan_.window == 0 || position < plan_.memory.from) return position + 1;
  const int64_t memory = num_tokens * plan_.memory.top_k * kPartSize;
  return visible_keys(position, plan_.window + num_tokens - 1 + memory, plan_.num_sinks);
}

void ModelBench::read(int64_t begin, int64_t end) {
  batch_.token_ids.assign(prompt_.begin() + begin, prompt_.begin() + end);
  batch_.ranges.assign(1, range(0, begin, 0, static_cast<size_t>(end - begin)));
  runner_->run(batch_);
}

void ModelBench::fill(const std::function<void(int64_t, int64_t)>& on_tokens) {
  constexpr auto kChunk = static_cast<int64_t>(kMaxBatchTokens);
  // Content does not matter to the time: what is deeper, and in other sequences, are copies, each in a page of its own.
  constexpr int64_t kRead = 4096;
  const int64_t depth = largest(plan_.depths), num_read = std::min(depth, kRead);
  for (int64_t begin = 0; begin < num_read; begin += kChunk) {
    on_tokens(begin, num_read);
    read(begin, std::min(begin + kChunk, num_read));
  }
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const auto num_pages = std::min(pages_for(depth), static_cast<int64_t>(sequences_[i].size()));
    for (int64_t page = i == 0 ? pages_for(num_read) : 0; page < num_pages; ++page) {
      const auto from = static_cast<size_t>(page % pages_for(num_read));
      runner_->copy_page(sequences_[0][from], sequences_[i][static_cast<size_t>(page)]);
    }
  }
}

ModelBench::Sample ModelBench::prefill(int64_t depth, int64_t prompt) {
  constexpr auto kChunk = static_cast<int64_t>(kMaxBatchTokens);
  Sample sample;
  const Clock::time_point start = Clock::now();
  const int64_t last_end = depth + prompt;
  for (int64_t begin = depth; begin < last_end; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, last_end);
    read(begin, end);
    if (end == last_end) {
      const auto last = static_cast<int32_t>(end - begin - 1);
      runner_->logits({&last, 1});
    }
    const int64_t keys = keys_read(end - 1, end - begin);
    sample.work += step_work(work_, end - begin, end == last_end ? 1 : 0, keys);
  }
  sample.seconds = seconds_since(start);
  return sample;
}

void ModelBench::step(int64_t position, int64_t batch) {
  const auto rows = static_cast<size_t>(batch);
  batch_.token_ids.assign(next_tokens_.begin(), next_tokens_.end());
  batch_.ranges.clear();
  for (size_t i = 0; i < rows; ++i) batch_.ranges.push_back(range(i, position, i, 1));
  runner_->run(batch_);
  for (size_t first = 0; first < rows; first += kMaxLogitRows) {
    int32_t wanted[kMaxLogitRows];
    const size_t count = std::min(kMaxLogitRows, rows - first);
    for (size_t i = 0; i < count; ++i) wanted[i] = static_cast<int32_t>(first + i);
    const Matrix logits = runner_->logits({wanted, count});
    for (size_t i = 0; i < count; ++i) {
      const float* row = logits.row(i);
      next_tokens_[first + i] = static_cast<int32_t>(std::max_element(row, row + config_.vocab_size) - row);
    }
  }
}

ModelBench::Sample ModelBench::decode(int64_t depth, int64_t batch) {
  next_tokens_.assign(static_cast<size_t>(batch), 0);
  for (size_t i = 0; i < next_tokens_.size(); ++i) next_tokens_[i] = prompt_[i % prompt_.size()];
  step(depth, batch);  // wakes the threads, and is no part of the sample
  Sample sample;
  const Clock::time_point start = Clock::now();
  for (int64_t i = 1; i <= plan_.new_tokens; ++i) {
    step(depth + i, batch);
    sample.work += step_work(work_, batch, batch, batch * keys_read(depth + i, 1));
  }
  sample.seconds = seconds_since(start);
  return sample;
}

}  // namespace qwin
