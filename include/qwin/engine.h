// SPDX-License-Identifier: Apache-2.0
// The engine: a loaded model that reads prompts and writes answers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qwin/error.h"
#include "qwin/sampling_params.h"

namespace qwin {

enum class KvCacheType { f32, f16 };

struct EngineOptions {
  int num_threads = 0;           // 0: the physical cores this process may use
  int64_t context_length = 0;    // tokens of prompt and answer together; 0: the model's own, as far as KV memory allows
  int64_t window = 0;            // keys a query sees; 0: exact attention
  int64_t num_sink_tokens = 64;  // with a window: the first tokens, which are seen always
  KvCacheType kv_type = KvCacheType::f16;
  uint64_t kv_memory_bytes = 0;  // 0: what the weights leave of the available memory, less 20 %
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
  uint64_t kv_memory_bytes = 0;
  int num_threads = 0;
  int64_t context_length = 0, model_context_length = 0;
  int64_t window = 0, num_sink_tokens = 0;
  uint32_t vocab_size = 0;
  double load_seconds = 0;
};

struct TokenProbability {
  int32_t token_id = 0;
  float logprob = 0;  // natural logarithm, of the model's own distribution
};

struct TokenLogprobInfo {
  TokenProbability chosen;
  std::vector<TokenProbability> top;  // best first
};

enum class FinishReason {
  stop,       // an end-of-text token or a stop string
  length,     // max_tokens or the context's end
  cancelled,  // the callback asked for it
};
const char* finish_reason_name(FinishReason reason);

struct GenerationTimings {
  double ttft_ms = 0;                    // from the call to the first token
  double prefill_tokens_per_second = 0;  // tokens read, without cached ones
  double decode_tokens_per_second = 0;   // tokens after the first
};

struct GenerationResult {
  std::string text;
  std::vector<int32_t> token_ids;  // without the end-of-text token
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, kept from the turn before
  FinishReason finish_reason = FinishReason::stop;
  bool context_full = false;               // `length` because the context ended
  std::vector<TokenLogprobInfo> logprobs;  // [token_ids.size()] when asked for
  GenerationTimings timings;
};

// Receives text as it becomes certain: whole characters, never part of a stop string. Called with no text between the
// parts of a long prompt. Returns false to stop the answer.
using OnText = std::function<bool(std::string_view text)>;

// Logits [vocab_size] of one position of a prompt, positions in order.
using OnLogits = std::function<void(int64_t position, std::span<const float> logits)>;

// Called while loading with the bytes repacked so far and in all.
using OnLoad = std::function<void(uint64_t done, uint64_t total)>;

// One conversation's memory: the tokens read and written so far, with their K and V. A prompt that begins with the same
// tokens reads only the rest. Belongs to the engine that made it, and must die before it.
class Conversation {
 public:
  virtual ~Conversation() = default;
  virtual int64_t num_tokens() const = 0;
};

// Not thread-safe: one call at a time.
class Engine {
 public:
  // `path` is a GGUF file or a directory. Throws Error: the class of the file's fault, or does_not_fit with the bytes
  // needed and available, before anything large is allocated.
  static std::unique_ptr<Engine> load(const std::string& path, const EngineOptions& options,
                                      const OnLoad& on_load = {});
  virtual ~Engine() = default;

  virtual const EngineInfo& info() const = 0;
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

  virtual std::unique_ptr<Conversation> new_conversation() = 0;
  // Reads the prompt and writes an answer. Throws Error: invalid_argument, context_length_exceeded, numerical; the
  // conversation is then as before or shorter, and usable.
  virtual GenerationResult generate(Conversation& conversation, std::span<const int32_t> prompt,
                                    const SamplingParams& params, const OnText& on_text = {}) = 0;
  // The logits of every position. Throws Error: invalid_argument for an empty list or an id outside the vocabulary.
  virtual void prompt_logits(std::span<const int32_t> token_ids, const OnLogits& on_logits) = 0;
};

}  // namespace qwin
