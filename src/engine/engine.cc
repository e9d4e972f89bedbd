// SPDX-License-Identifier: Apache-2.0
// The engine behind include/qwin/engine.h: one loaded model, its pages, its tokenizer and template.
#include "qwin/engine.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "chat/chat_template.h"
#include "engine/capacity.h"
#include "engine/generation.h"
#include "engine/sequence.h"
#include "runner/runner.h"
#include "tokenizer/tokenizer.h"

namespace qwin {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::cancelled: return "cancelled";
  }
  return "stop";
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class LocalEngine : public Engine {
 public:
  LocalEngine(const std::string& path, const EngineOptions& options, const OnLoad& on_load);

  const EngineInfo& info() const override { return info_; }
  SamplingParams default_sampling() const override;
  std::vector<int32_t> tokenize(std::string_view text, bool parse_special) const override {
    return tokenizer_->encode(text, parse_special);
  }
  std::string detokenize(std::span<const int32_t> token_ids) const override { return tokenizer_->decode(token_ids); }
  std::vector<int32_t> tokenize_chat(std::string_view messages_json) const override;
  std::vector<int32_t> tokenize_prompt(std::string_view text) const override;
  std::unique_ptr<Conversation> new_conversation() override {
    return std::make_unique<Sequence>(*pool_, options_.window, options_.num_sink_tokens);
  }
  GenerationResult generate(Conversation& conversation, std::span<const int32_t> prompt, const SamplingParams& params,
                            const OnText& on_text) override;
  void prompt_logits(std::span<const int32_t> token_ids, const OnLogits& on_logits) override;

 private:
  void check_prompt(std::span<const int32_t> prompt) const;
  // Reads `token_ids` into the sequence in chunks; after each, `on_chunk(first position, count)` may ask for logits, and
  // end the reading by returning false. True when everything was read.
  template <typename F>
  bool read(Sequence& sequence, std::span<const int32_t> token_ids, F&& on_chunk);
  bool context_full(int64_t num_tokens) const { return options_.window == 0 && num_tokens >= info_.context_length; }
  void fill_info(const std::string& path, const RunnerOptions& runner_options);

  EngineOptions options_;
  EngineInfo info_;
  ModelFiles files_;
  ModelConfig config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  mutable std::optional<ChatTemplate>
      chat_template_;  // loaded by the first chat: a model without one still continues text
  std::vector<int32_t> eos_ids_;
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<PagePool> pool_;
};

KvType kernel_kv_type(KvCacheType type) { return type == KvCacheType::f32 ? KvType::f32 : KvType::f16; }

LocalEngine::LocalEngine(const std::string& path, const EngineOptions& options, const OnLoad& on_load)
    : options_(options), files_(open_model_files(path)), config_(read_model_config(files_)) {
  const Clock::time_point start = Clock::now();
  check_tensors(config_, files_);
  tokenizer_ = Tokenizer::load(files_);
  if (tokenizer_->num_ids() > config_.vocab_size) {
    throw Error(ErrorCode::bad_tokenizer, "the tokenizer has " + std::to_string(tokenizer_->num_ids()) +
                                              " ids, the embedding only " + std::to_string(config_.vocab_size) +
                                              " rows");
  }
  eos_ids_ = tokenizer_->eos_ids();
  for (const uint32_t id : config_.eos_token_ids) {
    if (std::ranges::find(eos_ids_, static_cast<int32_t>(id)) == eos_ids_.end())
      eos_ids_.push_back(static_cast<int32_t>(id));
  }

  const RunnerOptions runner_options{
      .isa = choose_cpu_isa(),
      .num_threads = options.num_threads > 0 ? options.num_threads : default_num_threads(),
      .cores = allowed_cores(),
      .kv_type = kernel_kv_type(options.kv_type),
  };
  fill_info(path, runner_options);
  const KvShape shape = kv_shape(config_, runner_options.kv_type);
  const Capacity capacity = plan_capacity({.memory = memory_info(),
                                           .weight_bytes = info_.weight_bytes,
                                           .activation_bytes = info_.activation_bytes,
                                           .page_bytes = shape.page_bytes(),
                                           .page_size = kPageSize,
                                           .model_context_length = config_.max_positions},
                                          options);
  info_.context_length = capacity.context_length;
  info_.kv_memory_bytes = capacity.kv_memory_bytes;
  runner_ = std::make_unique<Runner>(config_, files_, runner_options, on_load);
  runner_->allocate_pages(capacity.num_pages);
  pool_ = std::make_unique<PagePool>(capacity.num_pages);
  info_.isa = runner_->kernels_name();
  info_.load_seconds = seconds_since(start);
}

void LocalEngine::fill_info(const std::string& path, const RunnerOptions& runner_options) {
  info_.path = path;
  info_.model_name = config_.name;
  info_.architecture = config_.architecture;
  info_.cpu = cpu_name();
  info_.kv_type = options_.kv_type == KvCacheType::f32 ? "f32" : "f16";
  info_.huge_pages = transparent_huge_pages();
  for (const TensorInfo& tensor : files_.tensors.tensors()) {
    info_.num_parameters += tensor.num_elements();
    info_.file_bytes += tensor.data.size();
  }
  info_.bits_per_weight = 8.0 * static_cast<double>(info_.file_bytes) / static_cast<double>(info_.num_parameters);
  info_.weight_bytes = weight_memory_bytes(config_, files_, runner_options.isa == CpuIsa::float32);
  info_.activation_bytes = activation_memory_bytes(config_, kMaxBatchTokens, kMaxLogitRows);
  info_.kv_bytes_per_token = kv_shape(config_, runner_options.kv_type).token_bytes();
  info_.num_threads = runner_options.num_threads;
  info_.model_context_length = config_.max_positions;
  info_.window = options_.window;
  info_.num_sink_tokens = options_.window > 0 ? options_.num_sink_tokens : 0;
  info_.vocab_size = config_.vocab_size;
}

SamplingParams LocalEngine::default_sampling() const {
  SamplingParams params;
  if (config_.default_temperature >= 0) params.temperature = config_.default_temperature;
  if (config_.default_top_p >= 0) params.top_p = config_.default_top_p;
  if (config_.default_top_k >= 0) params.top_k = config_.default_top_k;
  if (config_.default_repetition_penalty >= 0) params.repetition_penalty = config_.default_repetition_penalty;
  return params;
}

std::vector<int32_t> LocalEngine::tokenize_chat(std::string_view messages_json) const {
  if (!chat_template_) chat_template_.emplace(ChatTemplate::load(files_));
  Json input = parse_json(messages_json, "messages", ErrorCode::invalid_argument);
  ChatInput chat;
  if (input.is_object()) {
    chat.messages = input.value("messages", Json());
    chat.tools = input.value("tools", Json());
  } else {
    chat.messages = std::move(input);
  }
  const std::vector<RenderedSegment> rendered = chat_template_->render(chat);
  std::vector<TextSegment> segments;
  for (const RenderedSegment& segment : rendered) segments.push_back({segment.text, segment.from_template});
  return tokenizer_->encode(segments);
}

std::vector<int32_t> LocalEngine::tokenize_prompt(std::string_view text) const {
  std::vector<int32_t> ids = tokenizer_->encode(text, true);
  if (tokenizer_->add_bos() && tokenizer_->bos_id()) ids.insert(ids.begin(), *tokenizer_->bos_id());
  return ids;
}

void LocalEngine::check_prompt(std::span<const int32_t> prompt) const {
  if (prompt.empty()) throw Error(ErrorCode::invalid_argument, "the prompt has no tokens");
  for (const int32_t id : prompt) {
    if (id < 0 || static_cast<uint32_t>(id) >= config_.vocab_size) {
      throw Error(ErrorCode::invalid_argument, "token id " + std::to_string(id) + " is outside the vocabulary, 0 … " +
                                                   std::to_string(config_.vocab_size - 1));
    }
  }
}

template <typename F>
bool LocalEngine::read(Sequence& sequence, std::span<const int32_t> token_ids, F&& on_chunk) {
  Batch batch;
  for (size_t begin = 0; begin < token_ids.size(); begin += kMaxBatchTokens) {
    const size_t count = std::min(kMaxBatchTokens, token_ids.size() - begin);
    if (!sequence.reserve(static_cast<int64_t>(count))) {
      throw Error(ErrorCode::does_not_fit, "the KV memory is full; use a smaller --window or more memory");
    }
    const auto chunk = token_ids.subspan(begin, count);
    batch.token_ids.assign(chunk.begin(), chunk.end());
    batch.ranges.assign(1, sequence.next_range(0, count));
    runner_->run(batch);
    const bool go_on = on_chunk(begin, count);
    sequence.append(chunk);
    if (!go_on) return false;
  }
  return true;
}

GenerationResult LocalEngine::generate(Conversation& conversation, std::span<const int32_t> prompt,
                                       const SamplingParams& params, const OnText& on_text) {
  const Clock::time_point start = Clock::now();
  check_prompt(prompt);
  params.validate_token_ids(config_.vocab_size);
  if (context_full(static_cast<int64_t>(prompt.size()))) {
    throw Error(ErrorCode::context_length_exceeded, "the prompt has " + std::to_string(prompt.size()) +
                                                        " tokens, the context ends at " +
                                                        std::to_string(info_.context_length));
  }
  auto& sequence = dynamic_cast<Sequence&>(conversation);
  Generation generation(tokenizer_, eos_ids_, params, prompt, on_text);
  GenerationResult& result = generation.result();
  result.cached_tokens = sequence.keep_prefix(prompt);

  std::vector<float> row(config_.vocab_size);
  const auto last_logits = [&](size_t, size_t count) {
    const int32_t last = static_cast<int32_t>(count) - 1;
    const Matrix logits = runner_->logits({&last, 1});
    std::copy_n(logits.data, config_.vocab_size, row.data());
    return true;
  };
  const auto unread = prompt.subspan(static_cast<size_t>(result.cached_tokens));
  const bool whole = read(sequence, unread, [&](size_t begin, size_t count) {
    return begin + count == unread.size() ? last_logits(begin, count) : generation.is_wanted();
  });
  if (!whole) {
    generation.end(FinishReason::cancelled);
    return std::move(result);
  }
  double first_token_seconds = 0;
  while (true) {
    const std::optional<int32_t> token = generation.take(row);
    if (first_token_seconds == 0) first_token_seconds = seconds_since(start);
    if (!token) break;
    if (context_full(sequence.num_tokens() + 1)) {
      result.context_full = true;
      generation.end(FinishReason::length);
      break;
    }
    read(sequence, {&*token, 1}, last_logits);
  }
  const double total_seconds = seconds_since(start);
  result.timings.ttft_ms = first_token_seconds * 1e3;
  result.timings.prefill_tokens_per_second = static_cast<double>(unread.size()) / first_token_seconds;
  const size_t steps = generation.num_steps();
  if (steps > 1)
    result.timings.decode_tokens_per_second = static_cast<double>(steps - 1) / (total_seconds - first_token_seconds);
  return std::move(result);
}

void LocalEngine::prompt_logits(std::span<const int32_t> token_ids, const OnLogits& on_logits) {
  check_prompt(token_ids);
  if (options_.window == 0 && static_cast<int64_t>(token_ids.size()) > info_.context_length) {
    throw Error(ErrorCode::context_length_exceeded, std::to_string(token_ids.size()) + " tokens, the context ends at " +
                                                        std::to_string(info_.context_length));
  }
  Sequence sequence(*pool_, options_.window, options_.num_sink_tokens);
  read(sequence, token_ids, [&](size_t begin, size_t count) {
    for (size_t first = 0; first < count; first += kMaxLogitRows) {
      int32_t rows[kMaxLogitRows];
      const size_t num_rows = std::min(kMaxLogitRows, count - first);
      for (size_t i = 0; i < num_rows; ++i) rows[i] = static_cast<int32_t>(first + i);
      const Matrix logits = runner_->logits({rows, num_rows});
      for (size_t i = 0; i < num_rows; ++i)
        on_logits(static_cast<int64_t>(begin + first + i), {logits.row(i), config_.vocab_size});
    }
    return true;
  });
}

}  // namespace

std::unique_ptr<Engine> Engine::load(const std::string& path, const EngineOptions& options, const OnLoad& on_load) {
  return std::make_unique<LocalEngine>(path, options, on_load);
}

}  // namespace qwin
