// SPDX-License-Identifier: Apache-2.0
// The engine: a loaded model that answers many requests at once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qwin/error.h"
#include "qwin/request.h"
#include "qwin/sampling_params.h"

namespace qwin {

enum class KvCacheType { f32, f16, q8 };

struct EngineOptions {
  int num_threads = 0;         // 0: the physical cores this process may use
  int64_t context_length = 0;  // tokens of prompt and answer together; 0: the model's own, as far as KV memory allows
  // What requests do that ask for nothing else. Without a type: a sliding window if one is asked for, else full.
  std::optional<AttentionType> attention_type = {};
  // The last tokens, which are seen always; 0: all of them. Without: 1024, or all with full attention.
  std::optional<int64_t> window = {};
  int64_t num_sink_tokens = 64;  // the first tokens, which are seen always
  int64_t memory_top_k = 384;    // hybrid: pieces of 16 tokens that a token finds again, for each KV head
  int64_t hybrid_from = 8192;    // hybrid: tokens before this position see everything
  int64_t global_heads = 0;      // hybrid: KV heads that see everything; needs the model's file of heads
  OverflowPolicy overflow_policy = OverflowPolicy::error;
  KvCacheType kv_type = KvCacheType::f16;
  int quantize_bits = 0;  // 4 or 8: weights are quantized while they are loaded; 0: they stay as they are stored
  bool float32 = false;   // compute in float32 with the weights as they are stored: slow, what others are judged by
  uint64_t kv_memory_bytes = 0;   // 0: what the weights leave of the available memory, less 20 %
  std::string kv_directory = {};  // on a disk, where K and V lie that are too many for kv_memory_bytes; empty: nowhere

  int max_batch_size = 16;           // sequences that run at once
  double batch_timeout_seconds = 0;  // how long an idle engine holds a first request so that others can join it
  int max_queue_length = 256;        // requests that wait for a place; more are refused (queue_full)
  double max_step_seconds = 0.19;    // prompts are read in pieces that keep a step below this; 0: as large as can be
  bool prefix_cache = true;          // keep K and V of what was read and written for later requests that begin so
  std::string cache_directory = {};  // where the prefix cache lives on across restarts; empty: nowhere
  uint64_t cache_max_bytes = uint64_t{4} << 30;  // of files there
};

// What was loaded and how it will run; for the banner, `qwin show` and /health.
struct EngineInfo {
  std::string model_name, architecture, path;
  std::string cpu, isa, kv_type, huge_pages;
  uint64_t num_parameters = 0;
  double bits_per_weight = 0;  // of the file
  uint64_t file_bytes = 0;     // of the tensors
  uint64_t weight_bytes = 0;   // anonymous memory of the repacked weights
  uint64_t activation_bytes = 0;
  uint64_t kv_bytes_per_token = 0;
  uint64_t kv_memory_bytes = 0;  // in RAM at most
  uint64_t kv_disk_bytes = 0;    // of the file in kv_directory that all K and V lie in; 0: they fit in RAM
  int num_threads = 0;
  int max_batch_size = 0;
  int64_t context_length = 0, model_context_length = 0;
  AttentionPlan attention;  // of requests that ask for nothing else
  uint32_t vocab_size = 0, hidden_size = 0;
  double load_seconds = 0;
};

// Counts since the start, and what is going on now.
struct EngineStats {
  int requests_running = 0, requests_waiting = 0, requests_held = 0;
  int64_t kv_pages_total = 0;
  int64_t kv_pages_used = 0;    // held by running requests
  int64_t kv_pages_cached = 0;  // held by the prefix cache alone; given up when space is needed
  int64_t kv_page_size = 0;     // tokens
  uint64_t requests_cancelled = 0, preemptions = 0;
  uint64_t prompt_tokens = 0, generated_tokens = 0;
  uint64_t prefix_cache_queried_tokens = 0, prefix_cache_hit_tokens = 0;
  uint64_t prefix_cache_disk_bytes = 0, prefix_cache_write_errors = 0;
  std::map<std::string, uint64_t> prefix_cache_rejected = {};  // files that were not as they should be, by reason
  uint64_t steps = 0;
  double waiting_seconds = 0;  // estimate: how long a request that comes now waits for a place
  std::string failure = {};    // why a step failed: every request is refused since then; empty: none did
};

// A weight in the caller's memory, named, shaped and laid out as a safetensors file would have it.
struct MemoryTensor {
  std::string name;             // "model.layers.0.mlp.down_proj.weight"
  std::string dtype;            // "F32", "F16" or "BF16"
  std::vector<uint64_t> shape;  // outermost first
  const void* data = nullptr;   // contiguous
};

// Receives text as it becomes certain. Called with no text between the parts of a long prompt. Returns false to stop
// the answer.
using OnText = std::function<bool(std::string_view text)>;

// Logits [vocab_size] of one position of a prompt, positions in order.
using OnLogits = std::function<void(int64_t position, std::span<const float> logits)>;
// Hidden states [hidden_size] of one position after the last norm: what the head turns into logits.
using OnHiddenStates = std::function<void(int64_t position, std::span<const float> hidden_states)>;

// Called while loading with the bytes repacked so far and in all.
using OnLoad = std::function<void(uint64_t done, uint64_t total)>;

// Thread-safe: every method may be called from any thread at any time. One thread of the engine's own runs the steps;
// in each, all running requests go forward together. Results do not depend on what else is running. Destroying the
// engine cancels what is left.
class Engine {
 public:
  // `path` is a GGUF file or a directory. Throws Error: the class of the file's fault, or does_not_fit with the bytes
  // needed and available, before anything large is allocated.
  static std::unique_ptr<Engine> load(const std::string& path, const EngineOptions& options,
                                      const OnLoad& on_load = {});
  // The same for a model in memory: `directory` holds config.json and the tokenizer's files. The tensors are read
  // until load() returns and not after.
  static std::unique_ptr<Engine> load(const std::string& directory, std::span<const MemoryTensor> tensors,
                                      const EngineOptions& options, const OnLoad& on_load = {});
  virtual ~Engine() = default;

  virtual const EngineInfo& info() const = 0;
  virtual EngineStats stats() const = 0;
  // What the checkpoint asks for (generation_config.json), on top of the library's defaults.
  virtual SamplingParams default_sampling() const = 0;

  // `parse_special`: added tokens such as <|im_start|> are recognised in the text.
  virtual std::vector<int32_t> tokenize(std::string_view text, bool parse_special) const = 0;
  virtual std::string detokenize(std::span<const int32_t> token_ids) const = 0;
  // The token ids of a chat, ready to be answered. `messages_json`: a list of {"role", "content"}, or an object with
  // "messages" and "tools". Text of the fields never becomes a special token.
  virtual std::vector<int32_t> tokenize_chat(std::string_view messages_json) const = 0;
  // A raw prompt as the model wants to see it (with its begin-of-text token, if it has one).
  virtual std::vector<int32_t> tokenize_prompt(std::string_view text) const = 0;

  // Queues a request and returns at once. Throws Error: invalid_argument, context_length_exceeded, queue_full, broken.
  virtual RequestId submit(Request request, RequestEvents events) = 0;
  // Ends a request wherever it is: queued, reading its prompt, writing. Its last event says `cancelled`. An id that has
  // ended is no fault.
  virtual void cancel(RequestId id) = 0;
  // A held request keeps its memory and takes no part in steps: for a reader that is slower than the model.
  virtual void hold(RequestId id, bool held) = 0;

  // submit(), and wait for the end; `on_text` is called on the engine's thread. Throws what the request failed with:
  // invalid_argument, context_length_exceeded, queue_full, timed_out, numerical.
  GenerationResult generate(Request request, const OnText& on_text = {});
  // The logits of every position, between the steps of others. Throws Error: invalid_argument for an empty list or an
  // id outside the vocabulary, context_length_exceeded, does_not_fit.
  virtual void prompt_logits(std::span<const int32_t> token_ids, const OnLogits& on_logits) = 0;
  // The hidden states of every position; else as prompt_logits().
  virtual void hidden_states(std::span<const int32_t> token_ids, const OnHiddenStates& on_hidden_states) = 0;
};

}  // namespace qwin
