// SPDX-License-Identifier: Apache-2.0
// The engine behind include/qwin/engine.h: one loaded model, its pages, its tokenizer and template.
#include "qwin/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>

#include "chat/chat_template.h"
#include "engine/attention_plan.h"
#include "engine/batch_loop.h"
#include "engine/cache_identity.h"
#include "engine/capacity.h"
#include "engine/check_options.h"
#include "engine/generation.h"
#include "engine/global_tokens.h"
#include "model/head_ranks.h"
#include "model/row_residual.h"
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

TensorTable tensors_in_memory(std::span<const MemoryTensor> tensors) {
  TensorTable table;
  for (const MemoryTensor& tensor : tensors) {
    TensorInfo info{.name = tensor.name, .shape = tensor.shape, .data = {}};
    const DType floats[] = {DType::f32, DType::f16, DType::bf16};
    const auto dtype = std::ranges::find_if(floats, [&](DType d) { return dtype_info(d).name == tensor.dtype; });
    if (dtype == std::end(floats)) {
      throw Error(ErrorCode::bad_type,
                  "tensor " + tensor.name + " is of type " + tensor.dtype + "; weights in memory are F32, F16 or BF16");
    }
    info.dtype = *dtype;
    info.data = FileSpan::of_memory(tensor.data, tensor_bytes(info.name, info.dtype, info.shape));
    table.add(std::move(info));
  }
  return table;
}

class LocalEngine : public Engine {
 public:
  LocalEngine(ModelFiles files, const EngineOptions& options, const OnLoad& on_load);

  const EngineInfo& info() const override { return info_; }
  SamplingParams default_sampling() const override;
  std::vector<int32_t> tokenize(std::string_view text, bool parse_special) const override {
    return tokenizer_->encode(text, parse_special);
  }
  std::string detokenize(std::span<const int32_t> token_ids) const override { return tokenizer_->decode(token_ids); }
  std::vector<int32_t> tokenize_chat(std::string_view messages_json) const override;
  std::vector<int32_t> tokenize_prompt(std::string_view text) const override;
  EngineStats stats() const override { return loop_->stats(); }
  RequestId submit(Request request, RequestEvents events) override;
  void cancel(RequestId id) override { loop_->cancel(id); }
  void hold(RequestId id, bool held) override { loop_->hold(id, held); }
  void prompt_logits(std::span<const int32_t> token_ids, const OnLogits& on_logits) override {
    read_prompt(token_ids, {.on_logits = on_logits});
  }
  void hidden_states(std::span<const int32_t> token_ids, const OnHiddenStates& on_hidden_states) override {
    read_prompt(token_ids, {.on_hidden_states = on_hidden_states});
  }

 private:
  void read_prompt(std::span<const int32_t> token_ids, PromptReader reader);
  void check_prompt(std::span<const int32_t> prompt) const;
  AttentionPlan plan_for(const Request& request) const;
  void check_global_heads(int64_t count) const;
  void load_tokenizer();
  void fill_info(const RunnerOptions& runner_options);

  EngineOptions options_;
  EngineInfo info_;
  ModelFiles files_;
  ModelConfig config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  // Loaded by the first chat: a model without one still continues text.
  mutable std::mutex chat_template_mutex_;
  mutable std::optional<ChatTemplate> chat_template_;
  std::vector<int32_t> eos_ids_;
  int32_t num_pages_ = 0;
  int64_t num_ranked_heads_ = 0;  // 0: nothing is known of which heads need most
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<BatchLoop> loop_;
};

KvType kernel_kv_type(KvCacheType type) {
  switch (type) {
    case KvCacheType::f32: return KvType::f32;
    case KvCacheType::f16: return KvType::f16;
    case KvCacheType::q8: return KvType::q8;
  }
  return KvType::f16;
}

const char* kv_type_name(KvCacheType type) {
  return type == KvCacheType::f32 ? "f32" : type == KvCacheType::f16 ? "f16" : "q8";
}

RunnerOptions runner_options_for(const EngineOptions& options) {
  const CpuIsa isa = options.float32 ? CpuIsa::float32 : choose_cpu_isa();
  const int bits = options.quantize_bits;
  if (bits != 0 && bits != 4 && bits != 8) {
    throw Error(ErrorCode::invalid_argument, "weights are quantized to 4 or 8 bits, not " + std::to_string(bits));
  }
  if (bits != 0 && isa == CpuIsa::float32) {
    throw Error(ErrorCode::invalid_argument,
                "float32 arithmetic reads the weights as they are stored, so they cannot be quantized while loading");
  }
  return {
      .isa = isa,
      .num_threads = options.num_threads > 0 ? options.num_threads : default_num_threads(),
      .cores = allowed_cores(),
      .kv_type = kernel_kv_type(options.kv_type),
      .quantize_bits = bits,
  };
}

// For the prefix cache: K and V of other weights are other ones.
std::string arithmetic_name(const RunnerOptions& options) {
  std::string name = options.isa == CpuIsa::float32 ? "float32"
                     : options.quantize_bits == 0   ? "int8"
                                                    : "int8 of q" + std::to_string(options.quantize_bits);
  if (!options.head_ranks.empty()) name += " heads";
  for (const int32_t rank : options.head_ranks) name += " " + std::to_string(rank);
  return name;
}

LocalEngine::LocalEngine(ModelFiles files, const EngineOptions& options, const OnLoad& on_load)
    : options_(options), files_(std::move(files)), config_(read_model_config(files_)) {
  const Clock::time_point start = Clock::now();
  check_options(options);
  check_tensors(config_, files_);
  load_tokenizer();

  RunnerOptions runner_options = runner_options_for(options);
  if (!files_.is_borrowed)
    runner_options.head_ranks = read_head_ranks(heads_file(files_.path), config_).value_or(std::vector<int32_t>());
  num_ranked_heads_ = static_cast<int64_t>(runner_options.head_ranks.size());
  check_global_heads(options.global_heads);
  fill_info(runner_options);
  const KvShape shape = kv_shape(config_, files_, runner_options.kv_type);
  const Capacity capacity =
      plan_capacity({.memory = memory_info(),
                     .weight_bytes = info_.weight_bytes,
                     .activation_bytes = info_.activation_bytes,
                     .page_bytes = shape.page_bytes(),
                     .page_size = kPageSize,
                     .model_context_length = config_.max_positions,
                     .disk_bytes = options.kv_directory.empty() ? 0 : free_disk_bytes(options.kv_directory)},
                    options);
  info_.context_length = capacity.context_length;
  info_.kv_memory_bytes = capacity.kv_memory_bytes;
  info_.kv_disk_bytes = capacity.kv_disk_bytes;
  runner_ = std::make_unique<Runner>(config_, files_, runner_options, on_load);
  runner_->allocate_pages(capacity.num_pages, capacity.kv_disk_bytes == 0
                                                  ? KvDisk{}
                                                  : KvDisk{options.kv_directory, capacity.kv_memory_bytes});
  num_pages_ = capacity.num_pages;
  std::unique_ptr<DiskArchive> archive;
  if (!options.cache_directory.empty() && options.prefix_cache) {
    archive = std::make_unique<DiskArchive>(
        DiskArchiveOptions{.directory = options.cache_directory,
                           .max_bytes = options.cache_max_bytes,
                           .identity = cache_identity(config_, files_, shape, arithmetic_name(runner_options)),
                           .page_bytes = [runner = runner_.get()](int32_t page) { return runner->page(page); }});
  }
  loop_ =
      std::make_unique<BatchLoop>(*runner_,
                                  BatchLoopOptions{.scheduler = {.max_sequences = options.max_batch_size,
                                                                 .max_step_tokens = kMaxBatchTokens,
                                                                 .max_step_seconds = options.max_step_seconds,
                                                                 .batch_timeout_seconds = options.batch_timeout_seconds,
                                                                 .page_size = kPageSize,
                                                                 .uses_prefix_cache = options.prefix_cache},
                                                   .max_queue_length = options.max_queue_length,
                                                   .context_length = capacity.context_length,
                                                   .num_pages = capacity.num_pages},
                                  std::move(archive));
  if (files_.is_borrowed) files_.tensors = {};
  info_.isa = runner_->kernels_name();
  info_.load_seconds = seconds_since(start);
}

void LocalEngine::load_tokenizer() {
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
}

void LocalEngine::fill_info(const RunnerOptions& runner_options) {
  if (!files_.is_borrowed) info_.path = files_.path;
  info_.model_name = config_.name;
  info_.architecture = config_.architecture;
  info_.cpu = cpu_name();
  info_.kv_type = kv_type_name(options_.kv_type);
  info_.huge_pages = transparent_huge_pages();
  info_.num_parameters = num_parameters(files_.tensors);
  for (const TensorInfo& tensor : files_.tensors.tensors()) info_.file_bytes += tensor.data.size();
  info_.bits_per_weight = 8.0 * static_cast<double>(info_.file_bytes) / static_cast<double>(info_.num_parameters);
  info_.weight_bytes = weight_memory_bytes(config_, files_, runner_options.weight_form());
  info_.activation_bytes = activation_memory_bytes(config_, kMaxBatchTokens, kMaxLogitRows);
  info_.kv_bytes_per_token = kv_shape(config_, files_, runner_options.kv_type).token_bytes();
  info_.num_threads = runner_options.num_threads;
  info_.max_batch_size = options_.max_batch_size;
  info_.model_context_length = config_.max_positions;
  info_.attention = engine_plan(options_);
  info_.vocab_size = config_.vocab_size;
  info_.hidden_size = config_.hidden_size;
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
  {
    const std::lock_guard lock(chat_template_mutex_);
    if (!chat_template_) chat_template_.emplace(ChatTemplate::load(files_));
  }
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

AttentionPlan LocalEngine::plan_for(const Request& request) const {
  AttentionPlan plan = request_plan(options_, request, find_global_spans(*tokenizer_, request.prompt, request.global));
  check_global_heads(plan.global_heads);
  const auto length = static_cast<int64_t>(request.prompt.size());
  const auto policy = request.overflow_policy.value_or(options_.overflow_policy);
  const bool overflows = !plan.forgets() && length >= info_.context_length;
  // A window would forget what is to be seen by all.
  const bool may_forget = policy == OverflowPolicy::window && plan.global_spans.empty();
  if (overflows && may_forget) plan = overflow_plan(options_, plan);
  if (overflows && !may_forget) {
    const std::string way = policy == OverflowPolicy::window ? "; a window would forget its global tokens: name none"
                                                             : "; shorten it, or read it with overflow_policy window";
    throw Error(ErrorCode::context_length_exceeded, "the prompt has " + std::to_string(length) +
                                                        " tokens, the context ends at " +
                                                        std::to_string(info_.context_length) + way);
  }
  if (!plan.forgets()) return plan;
  const int64_t pages = window_pages(plan.window, plan.num_sink_tokens, kPageSize, kMaxBatchTokens);
  if (pages > num_pages_) {
    throw Error(ErrorCode::invalid_argument, "window of " + std::to_string(plan.window) + " tokens needs " +
                                                 std::to_string(pages) + " pages of KV memory, there are " +
                                                 std::to_string(num_pages_));
  }
  return plan;
}

void LocalEngine::check_global_heads(int64_t count) const {
  if (count == 0) return;
  if (num_ranked_heads_ == 0) {
    throw Error(ErrorCode::invalid_argument,
                "global_heads needs to know which heads these are: `qwin calibrate-heads MODEL TEXT` finds out");
  }
  if (count > num_ranked_heads_) {
    throw Error(ErrorCode::invalid_argument, "global_heads must be at most " + std::to_string(num_ranked_heads_) +
                                                 ", the KV heads of all layers, not " + std::to_string(count));
  }
}

RequestId LocalEngine::submit(Request request, RequestEvents events) {
  check_prompt(request.prompt);
  check_request(request);
  request.sampling.validate_token_ids(config_.vocab_size);
  const AttentionPlan plan = plan_for(request);
  auto generation = std::make_unique<Generation>(tokenizer_, eos_ids_, request);
  generation->result().attention = plan;
  const CachePlan cached = cache_plan(plan, request.cache_salt);
  return loop_->submit(std::move(request), cached, std::move(generation), std::move(events));
}

void LocalEngine::read_prompt(std::span<const int32_t> token_ids, PromptReader reader) {
  check_prompt(token_ids);
  Request request{.prompt = {token_ids.begin(), token_ids.end()}};
  if (!info_.attention.forgets() && static_cast<int64_t>(token_ids.size()) > info_.context_length) {
    throw Error(ErrorCode::context_length_exceeded, std::to_string(token_ids.size()) + " tokens, the context ends at " +
                                                        std::to_string(info_.context_length));
  }
  std::promise<void> done;
  RequestEvents events{.on_end = [&](const GenerationResult& result, const std::exception_ptr& error) {
    if (error) return done.set_exception(error);
    if (result.finish_reason == FinishReason::cancelled) {
      return done.set_exception(std::make_exception_ptr(Error(ErrorCode::cancelled, "the engine is closing")));
    }
    done.set_value();
  }};
  loop_->submit(std::move(request), cache_plan(info_.attention, {}), nullptr, std::move(events), std::move(reader));
  done.get_future().get();
}

}  // namespace

GenerationResult Engine::generate(Request request, const OnText& on_text) {
  std::promise<GenerationResult> done;
  // The first texts may come before submit() has told the id.
  std::atomic<bool> is_unwanted = false;
  std::promise<RequestId> submitted;
  RequestEvents events;
  events.on_output = [&](const Output& output) {
    if (is_unwanted || !on_text || on_text(output.text)) return;
    is_unwanted = true;
    cancel(submitted.get_future().get());
  };
  events.on_end = [&](GenerationResult result, const std::exception_ptr& error) {
    if (error) {
      done.set_exception(error);
    } else {
      done.set_value(std::move(result));
    }
  };
  submitted.set_value(submit(std::move(request), std::move(events)));
  return done.get_future().get();
}

std::unique_ptr<Engine> Engine::load(const std::string& path, const EngineOptions& options, const OnLoad& on_load) {
  return std::make_unique<LocalEngine>(open_model_files(path), options, on_load);
}

std::unique_ptr<Engine> Engine::load(const std::string& directory, std::span<const MemoryTensor> tensors,
                                     const EngineOptions& options, const OnLoad& on_load) {
  return std::make_unique<LocalEngine>(open_model_documents(directory, tensors_in_memory(tensors)), options, on_load);
}

}  // namespace qwin
