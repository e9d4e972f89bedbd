// SPDX-License-Identifier: Apache-2.0
// GGUF metadata -> ModelConfig. Keys are "<architecture>.<name>", spelled as llama.cpp's converter writes them.
#include <cmath>

#include "core/printable.h"
#include "model/checkpoint_names.h"
#include "model/config_readers.h"

namespace qwin {
namespace {

// Keys that change the mathematics in a way the forward pass does not have, with what they would ask for.
struct RefusedKey {
  const char* name;
  double neutral;  // the one value, besides 0, that asks for nothing
  const char* why;
};
constexpr RefusedKey kRefused[] = {
    {"expert_count", 0, "asks for a mixture of experts"},
    {"expert_used_count", 0, "asks for a mixture of experts"},
    {"nextn_predict_layers", 0, "counts layers of another kind among the blocks"},
    {"n_deepstack_layers", 0, "asks for image inputs"},
    {"attention.clamp_kqv", 0, "clamps queries, keys and values"},
    {"attention.max_alibi_bias", 0, "asks for ALiBi"},
    {"attention.scale", 0, "changes the scale of attention"},
    {"attention.output_scale", 1, "scales the attention's output"},
    {"attention.q_lora_rank", 0, "asks for latent attention"},
    {"attention.kv_lora_rank", 0, "asks for latent attention"},
    {"attn_logit_softcapping", 0, "caps attention scores"},
    {"final_logit_softcapping", 0, "caps logits"},
    {"logit_scale", 1, "scales logits"},
    {"residual_scale", 1, "scales the residual"},
    {"embedding_scale", 1, "scales embeddings"},
    {"use_parallel_residual", 0, "asks for parallel residuals"},
    {"rope.scale_linear", 1, "asks for linear RoPE scaling"},
    {"rope.dimension_sections", 0, "asks for multimodal RoPE"},
    {"rope.freq_base_swa", 0, "asks for another RoPE in windowed layers"},
    {"rope.dimension_count_swa", 0, "asks for another RoPE in windowed layers"},
    {"rope.scaling.alpha", 1, "asks for NTK RoPE scaling"},
    {"rope.scaling.yarn_log_multiplier", 0, "changes YaRN's attention factor"},
    {"rope.scaling.yarn_ext_factor", 1, "changes YaRN's ramp"},
};

bool asks_for_nothing(const GgufValue& value, double neutral) {
  switch (value.type) {
    case GgufType::boolean:
    case GgufType::u8:
    case GgufType::u16:
    case GgufType::u32:
    case GgufType::u64: return value.u == 0 || (neutral != 0 && static_cast<double>(value.u) == neutral);
    case GgufType::i8:
    case GgufType::i16:
    case GgufType::i32:
    case GgufType::i64: return value.i == 0 || (neutral != 0 && static_cast<double>(value.i) == neutral);
    case GgufType::f32:
    case GgufType::f64: return value.f == 0 || (neutral != 0 && value.f == neutral);
    default: return value.count == 0 && value.s.empty();
  }
}

class Reader {
 public:
  Reader(const ModelFiles& files, ModelConfig& config)
      : files_(files), metadata_(files.gguf), config_(config), prefix_(config.architecture + ".") {}

  void read() {
    for (const RefusedKey& refused : kRefused) {
      const GgufValue* value = metadata_.find(key(refused.name));
      if (value && !asks_for_nothing(*value, refused.neutral)) {
        refuse_config(key(refused.name), std::string(refused.why) + ", which is not supported");
      }
    }
    if (!metadata_.get_bool(key("attention.causal"), true)) refuse_config(key("attention.causal"), "must be true");
    read_sizes();
    read_yarn();
    read_windows();
    read_generation();
  }

 private:
  std::string key(const std::string& name) const { return prefix_ + name; }

  uint32_t required(const std::string& name) const {
    if (!metadata_.find(key(name))) refuse_config(key(name), "is missing");
    return to_uint32(metadata_.get_uint(key(name), 0), key(name));
  }
  uint32_t optional(const std::string& name, uint32_t fallback) const {
    return to_uint32(metadata_.get_uint(key(name), fallback), key(name));
  }

  void read_sizes();
  void read_vocab_size();
  void read_yarn();
  void read_windows();
  void read_generation();

  const ModelFiles& files_;
  const GgufMetadata& metadata_;
  ModelConfig& config_;
  std::string prefix_;
  ConfigLabels labels_;
};

void Reader::read_sizes() {
  config_.name = metadata_.get_string("general.name", config_.name);
  config_.hidden_size = required("embedding_length");
  config_.intermediate_size = required("feed_forward_length");
  config_.num_layers = required("block_count");
  config_.num_heads = required("attention.head_count");
  config_.num_kv_heads = optional("attention.head_count_kv", config_.num_heads);
  config_.max_positions = required("context_length");
  if (!metadata_.find(key("attention.layer_norm_rms_epsilon"))) {
    refuse_config(key("attention.layer_norm_rms_epsilon"), "is missing");
  }
  config_.rms_norm_eps = static_cast<float>(metadata_.get_float(key("attention.layer_norm_rms_epsilon"), 0));
  config_.rope_theta = metadata_.get_float(key("rope.freq_base"), 10000.0);  // llama.cpp's default
  labels_ = {.hidden_size = key("embedding_length"),
             .intermediate_size = key("feed_forward_length"),
             .num_layers = key("block_count"),
             .num_heads = key("attention.head_count"),
             .num_kv_heads = key("attention.head_count_kv"),
             .head_dim = key("attention.key_length"),
             .vocab_size = "token_embd.weight's rows",
             .max_positions = key("context_length"),
             .rms_norm_eps = key("attention.layer_norm_rms_epsilon"),
             .rope_theta = key("rope.freq_base"),
             .yarn_factor = key("rope.scaling.factor"),
             .yarn_beta_fast = key("rope.scaling.yarn_beta_fast"),
             .yarn_beta_slow = key("rope.scaling.yarn_beta_slow"),
             .yarn_attention_factor = key("rope.scaling.attn_factor"),
             .yarn_original_max_positions = key("rope.scaling.original_context_length")};

  if (metadata_.find(key("attention.key_length"))) {
    config_.head_dim = required("attention.key_length");
  } else {
    if (config_.num_heads == 0) refuse_config(labels_.num_heads, "is 0");
    if (config_.hidden_size % config_.num_heads != 0) {
      refuse_config(labels_.hidden_size,
                    "is no multiple of " + labels_.num_heads + " and there is no " + labels_.head_dim);
    }
    labels_.head_dim = labels_.hidden_size + " / " + labels_.num_heads;
    config_.head_dim = config_.hidden_size / config_.num_heads;
  }
  read_vocab_size();
  check_sizes(config_, labels_);
  for (const char* same : {"attention.value_length", "rope.dimension_count"}) {
    if (optional(same, config_.head_dim) != config_.head_dim) {
      refuse_config(key(same), "must equal the head size, " + std::to_string(config_.head_dim));
    }
  }
  config_.tie_word_embeddings = find_tensor(files_, "lm_head.weight") == nullptr;
}

void Reader::read_vocab_size() {
  const TensorInfo* embedding = find_tensor(files_, "model.embed_tokens.weight");
  const GgufValue* tokens = metadata_.find("tokenizer.ggml.tokens");
  if (embedding && embedding->shape.size() == 2) {
    config_.vocab_size = to_uint32(embedding->shape[0], labels_.vocab_size);
  } else {  // check_tensors will name the tensor
    config_.vocab_size = tokens ? to_uint32(tokens->count, "tokenizer.ggml.tokens") : optional("vocab_size", 0);
    labels_.vocab_size = "tokenizer.ggml.tokens";
  }
  if (tokens && tokens->count != config_.vocab_size) {
    throw Error(ErrorCode::bad_tokenizer, "tokenizer.ggml.tokens has " + std::to_string(tokens->count) +
                                              " entries, token_embd.weight has " + std::to_string(config_.vocab_size) +
                                              " rows");
  }
  if (optional("vocab_size", config_.vocab_size) != config_.vocab_size) {
    refuse_config(key("vocab_size"), "differs from the embedding's " + std::to_string(config_.vocab_size) + " rows");
  }
}

// llama.cpp's rules: without a type a factor means linear scaling; YaRN's own attention factor multiplies the default.
void Reader::read_yarn() {
  const std::string type(metadata_.get_string(key("rope.scaling.type"), "linear"));
  const double factor = metadata_.get_float(key("rope.scaling.factor"), 1.0);
  if (type == "none" || (type == "linear" && (factor == 0 || factor == 1))) return;
  if (type != "yarn") {
    refuse_config(key("rope.scaling.type"),
                  "asks for " + printable(type) + " scaling; only \"none\" and \"yarn\" are supported");
  }
  YarnConfig& yarn = config_.yarn;
  yarn.enabled = true;
  yarn.factor = factor;
  yarn.beta_fast = metadata_.get_float(key("rope.scaling.yarn_beta_fast"), 32.0);
  yarn.beta_slow = metadata_.get_float(key("rope.scaling.yarn_beta_slow"), 1.0);
  yarn.original_max_positions = optional("rope.scaling.original_context_length", config_.max_positions);
  yarn.attention_factor = yarn_mscale(factor, 1.0);
  for (const char* name : {"rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"}) {
    if (metadata_.find(key(name))) yarn.attention_factor *= metadata_.get_float(key(name), 1.0);
  }
  finish_yarn(config_, labels_);
}

// A pattern is one bool a layer (true = windowed), or n: every n-th layer is exact. Without one every layer is
// windowed.
void Reader::read_windows() {
  config_.layer_window.assign(config_.num_layers, 0);
  const uint32_t window = optional("attention.sliding_window", 0);
  if (window == 0 || window >= config_.max_positions) return;  // as wide as the context: exact
  const std::string pattern_key = key("attention.sliding_window_pattern");
  const GgufValue* pattern = metadata_.find(pattern_key);
  if (!pattern) {
    config_.layer_window.assign(config_.num_layers, window);
    return;
  }
  if (pattern->type == GgufType::array) {
    if (pattern->element_type != GgufType::boolean || pattern->count != config_.num_layers) {
      refuse_config(pattern_key, "must hold one boolean a layer");
    }
    SpanReader flags(pattern->elements);
    for (uint32_t& layer : config_.layer_window) layer = flags.read<uint8_t>("sliding_window_pattern") ? window : 0;
    return;
  }
  const uint32_t period = optional("attention.sliding_window_pattern", 0);
  for (uint32_t i = 0; i < config_.num_layers; ++i) {
    if (period == 0 || i % period < period - 1) config_.layer_window[i] = window;
  }
}

void Reader::read_generation() {
  for (const char* name : {"eos", "eot", "eom"}) {
    const std::string id_key = std::string("tokenizer.ggml.") + name + "_token_id";
    if (metadata_.find(id_key)) add_eos(config_, metadata_.get_uint(id_key, 0), id_key, ErrorCode::bad_tokenizer);
  }
  auto real = [&](const char* name) { return static_cast<float>(metadata_.get_float(name, -1)); };
  config_.default_temperature = real("general.sampling.temp");
  config_.default_top_p = real("general.sampling.top_p");
  config_.default_repetition_penalty = real("general.sampling.penalty_repeat");
  if (const GgufValue* top_k = metadata_.find("general.sampling.top_k")) {
    const bool is_signed = top_k->type == GgufType::i32 && top_k->i < 0;  // llama.cpp: not above 0 means all
    config_.default_top_k =
        is_signed ? 0 : static_cast<int32_t>(metadata_.get_uint("general.sampling.top_k", 0) & 0x7fffffff);
  }
  check_sampling_defaults(config_, "general.sampling.");
}

}  // namespace

void read_gguf_config(const ModelFiles& files, ModelConfig& config) {
  if (!files.gguf.find("general.architecture")) refuse_config("general.architecture", "is missing");
  config.architecture = files.gguf.get_string("general.architecture", "");
  if (config.architecture != "qwen2" && config.architecture != "qwen3") {
    refuse_config("general.architecture", "is " + printable(config.architecture) +
                                              "; supported are dense \"qwen2\" (Qwen2, Qwen2.5) and \"qwen3\"");
  }
  Reader(files, config).read();
}

}  // namespace qwin
