// SPDX-License-Identifier: Apache-2.0
// config.json and generation_config.json -> ModelConfig, by the rules of transformers' Qwen2Config and Qwen3Config:
// null means absent, absent keys take the class's defaults (num_key_value_heads: num_attention_heads). Keys that are in
// no list below are ignored, as transformers does.
#include <algorithm>
#include <cmath>
#include <span>

#include "core/printable.h"
#include "model/checkpoint_names.h"
#include "model/config_readers.h"
#include "ops/attention.h"

namespace qwin {
namespace {

// Keys that change the mathematics in a way the forward pass does not have. Null, false, 0 and empty ask for nothing.
struct RefusedKey {
  const char* name;
  double neutral;  // one more number that asks for nothing
  const char* why;
};
constexpr RefusedKey kRefused[] = {
    {"quantization_config", 0,
     "says the weights are stored in another project's quantized form; take the plain or GGUF one"},
    {"compression_config", 0, "says the weights are stored compressed; take the plain or GGUF ones"},
    {"num_experts", 0, "asks for a mixture of experts"},
    {"num_local_experts", 0, "asks for a mixture of experts"},
    {"n_routed_experts", 0, "asks for a mixture of experts"},
    {"num_experts_per_tok", 0, "asks for a mixture of experts"},
    {"vision_config", 0, "asks for image inputs"},
    {"audio_config", 0, "asks for audio inputs"},
    {"text_config", 0, "nests the language model in a larger one"},
    {"use_mrope", 0, "asks for multimodal RoPE"},
    {"alibi", 0, "asks for ALiBi"},
    {"partial_rotary_factor", 1, "rotates a part of each head"},
    {"mlp_bias", 0, "gives the MLP biases"},
    {"clip_qkv", 0, "clamps queries, keys and values"},
    {"attn_logit_softcapping", 0, "caps attention scores"},
    {"final_logit_softcapping", 0, "caps logits"},
    {"query_pre_attn_scalar", 0, "changes the scale of attention"},
    {"attention_multiplier", 1, "changes the scale of attention"},
    {"embedding_multiplier", 1, "scales embeddings"},
    {"residual_multiplier", 1, "scales the residual"},
    {"logits_scaling", 1, "scales logits"},
    {"logit_scale", 1, "scales logits"},
    {"per_layer_config", 0, "gives layers their own sizes"},
    {"is_encoder_decoder", 0, "asks for an encoder"},
    {"add_cross_attention", 0, "asks for cross attention"},
    {"use_bidirectional_attention", 0, "asks for attention to later positions"},
};
// Harmless, with the reason, because their names might make a reader wonder:
//   attention_dropout, initializer_range  training only
//   torch_dtype, dtype                    each tensor says its own type
//   auto_map                              code from a model directory is never run; `architectures` decides
//   attention_bias (qwen2)                transformers' Qwen2 always has q, k, v biases and no others
//   num_nextn_predict_layers              extra layers beside the model proper

bool asks_for_nothing(const Json& value, double neutral) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0 || (neutral != 0 && value.get<double>() == neutral);
  return value.empty();
}

// Typed access to one object of a document; every refusal names document and key.
class Fields {
 public:
  Fields(const Json& object, std::string label) : object_(object), label_(std::move(label)) {
    if (!object.is_object()) throw Error(ErrorCode::bad_config, label_ + " is no JSON object");
  }

  std::string key(const char* name) const { return label_ + ": " + name; }
  // nullptr when absent or null.
  const Json* find(const char* name) const {
    const auto entry = object_.find(name);
    return entry == object_.end() || entry->is_null() ? nullptr : &*entry;
  }
  bool has(const char* name) const { return object_.contains(name); }

  uint32_t required_count(const char* name) const {
    if (!find(name)) refuse_config(key(name), "is missing");
    return count(name, 0);
  }
  uint32_t count(const char* name, uint32_t fallback) const {
    const Json* value = find(name);
    return value ? to_uint32(as_count(*value, name), key(name)) : fallback;
  }
  uint64_t as_count(const Json& value, const char* name) const {
    if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<int64_t>() < 0)) {
      refuse_config(key(name), "must be an integer, 0 or more");
    }
    return value.get<uint64_t>();
  }
  double number(const char* name, double fallback) const {
    const Json* value = find(name);
    if (!value) return fallback;
    if (!value->is_number()) refuse_config(key(name), "must be a number");
    return value->get<double>();
  }
  bool flag(const char* name, bool fallback) const {
    const Json* value = find(name);
    if (!value) return fallback;
    if (!value->is_boolean()) refuse_config(key(name), "must be true or false");
    return value->get<bool>();
  }
  std::string text(const char* name, const char* fallback) const {
    const Json* value = find(name);
    if (!value) return fallback;
    if (!value->is_string()) refuse_config(key(name), "must be a string");
    return value->get<std::string>();
  }
  void refuse_unknown(std::span<const char* const> known) const {
    for (const auto& entry : object_.items()) {
      const bool is_known = std::ranges::any_of(known, [&](const char* name) { return entry.key() == name; });
      if (!is_known && !entry.value().is_null()) refuse_config(key(printable(entry.key()).c_str()), "is not supported");
    }
  }

 private:
  const Json& object_;
  std::string label_;
};

void check_architecture(const Fields& fields, ModelConfig& config) {
  const std::string type = fields.text("model_type", "");
  if (type != "qwen2" && type != "qwen3") {
    refuse_config(fields.key("model_type"),
                  "is " + printable(type) + "; supported are dense \"qwen2\" (Qwen2, Qwen2.5) and \"qwen3\"");
  }
  config.architecture = type;
  const std::string expected = type == "qwen2" ? "Qwen2ForCausalLM" : "Qwen3ForCausalLM";
  if (const Json* names = fields.find("architectures")) {
    const bool listed = names->is_array() && std::any_of(names->begin(), names->end(),
                                                         [&](const Json& name) { return name == Json(expected); });
    if (!listed) refuse_config(fields.key("architectures"), "must hold \"" + expected + "\" for model_type " + type);
  }
}

void check_refused_keys(const Fields& fields, const ModelConfig& config) {
  for (const RefusedKey& refused : kRefused) {
    const Json* value = fields.find(refused.name);
    if (value && !asks_for_nothing(*value, refused.neutral)) {
      refuse_config(fields.key(refused.name), std::string(refused.why) + ", which is not supported");
    }
  }
  if (!fields.flag("is_causal", true)) refuse_config(fields.key("is_causal"), "must be true");
  const std::string activation = fields.text("hidden_act", "silu");
  if (activation != "silu")
    refuse_config(fields.key("hidden_act"), "is " + printable(activation) + ", must be \"silu\"");
  if (config.architecture == "qwen3" && fields.flag("attention_bias", false)) {
    refuse_config(fields.key("attention_bias"), "asks for attention biases in Qwen3, which are not supported");
  }
}

void read_sizes(const Fields& fields, ModelConfig& config, ConfigLabels& labels) {
  labels = {.hidden_size = fields.key("hidden_size"),
            .intermediate_size = fields.key("intermediate_size"),
            .num_layers = fields.key("num_hidden_layers"),
            .num_heads = fields.key("num_attention_heads"),
            .num_kv_heads = fields.key("num_key_value_heads"),
            .head_dim = fields.key("head_dim"),
            .vocab_size = fields.key("vocab_size"),
            .max_positions = fields.key("max_position_embeddings"),
            .rms_norm_eps = fields.key("rms_norm_eps"),
            .rope_theta = fields.key("rope_theta")};
  config.hidden_size = fields.required_count("hidden_size");
  config.intermediate_size = fields.required_count("intermediate_size");
  config.num_layers = fields.required_count("num_hidden_layers");
  config.num_heads = fields.required_count("num_attention_heads");
  config.num_kv_heads = fields.count("num_key_value_heads", config.num_heads);
  config.vocab_size = fields.required_count("vocab_size");
  config.max_positions = fields.required_count("max_position_embeddings");
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", 1e-6));
  if (fields.find("head_dim") || config.architecture == "qwen3") {
    config.head_dim = fields.count("head_dim", 128);  // Qwen3Config's default
    return;
  }
  if (config.num_heads == 0) refuse_config(labels.num_heads, "is 0");
  if (config.hidden_size % config.num_heads != 0) {
    refuse_config(labels.hidden_size, "is no multiple of num_attention_heads and there is no head_dim");
  }
  labels.head_dim = fields.key("hidden_size / num_attention_heads");
  config.head_dim = config.hidden_size / config.num_heads;
}

void read_yarn(const Fields& rope, const Fields& fields, ModelConfig& config, ConfigLabels& labels) {
  YarnConfig& yarn = config.yarn;
  yarn.enabled = true;
  // Without a factor the ratio of the two lengths takes its place; an outer original length goes before the inner.
  uint32_t original = rope.count("original_max_position_embeddings", config.max_positions);
  original = fields.count("original_max_position_embeddings", original);
  if (original == 0) refuse_config(rope.key("original_max_position_embeddings"), "is 0");
  yarn.original_max_positions = original;
  yarn.factor = rope.number("factor", static_cast<double>(config.max_positions) / original);
  auto number_or = [&](const char* name, double fallback) {  // 0 counts as absent
    const double value = rope.number(name, 0);
    return value == 0 ? fallback : value;
  };
  yarn.beta_fast = number_or("beta_fast", 32);
  yarn.beta_slow = number_or("beta_slow", 1);
  yarn.truncate = rope.flag("truncate", true);
  const double mscale = rope.number("mscale", 0), mscale_all_dim = rope.number("mscale_all_dim", 0);
  if (rope.find("attention_factor")) {
    yarn.attention_factor = rope.number("attention_factor", 1);
  } else if (mscale != 0 && mscale_all_dim != 0) {
    yarn.attention_factor = yarn_mscale(yarn.factor, mscale) / yarn_mscale(yarn.factor, mscale_all_dim);
  } else {
    yarn.attention_factor = yarn_mscale(yarn.factor, 1);
  }
  labels.yarn_factor = rope.key("factor");
  labels.yarn_beta_fast = rope.key("beta_fast");
  labels.yarn_beta_slow = rope.key("beta_slow");
  labels.yarn_attention_factor = rope.key("attention_factor");
  labels.yarn_original_max_positions = rope.key("original_max_position_embeddings");
}

// `rope_scaling` is the spelling up to transformers 4, `rope_parameters` (with rope_theta inside) the one of 5. A
// non-empty rope_scaling goes first, as transformers 5 has it. True when the type is YaRN.
void read_rope(const Fields& fields, ModelConfig& config, ConfigLabels& labels) {
  config.rope_theta = fields.number("rope_theta", 10000.0);
  const char* name = "rope_scaling";
  const Json* object = fields.find(name);
  if (!object || object->empty()) {
    name = "rope_parameters";
    object = fields.find(name);
  }
  if (!object || object->empty()) return;
  const Fields rope(*object, fields.key(name));
  if (rope.find("rope_theta")) {
    config.rope_theta = rope.number("rope_theta", 0);
    labels.rope_theta = rope.key("rope_theta");
  }
  static constexpr const char* kKnown[] = {"type",
                                           "rope_type",
                                           "rope_theta",
                                           "factor",
                                           "original_max_position_embeddings",
                                           "beta_fast",
                                           "beta_slow",
                                           "mscale",
                                           "mscale_all_dim",
                                           "attention_factor",
                                           "truncate",
                                           "partial_rotary_factor"};
  rope.refuse_unknown(kKnown);
  if (rope.number("partial_rotary_factor", 1) != 1) {
    refuse_config(rope.key("partial_rotary_factor"), "must be 1: rotating a part of each head is not supported");
  }
  const char* type_name = rope.find("rope_type") ? "rope_type" : "type";
  const std::string type = rope.text(type_name, "default");
  if (type == "yarn") {
    read_yarn(rope, fields, config, labels);
  } else if (type != "default") {
    refuse_config(rope.key(type_name), "is " + printable(type) + "; supported are \"default\" and \"yarn\"");
  }
}

// As vLLM reads it. transformers ignores it, which is right within one chunk.
void read_dual_chunk(const Fields& fields, ModelConfig& config) {
  const Json* object = fields.find("dual_chunk_attention_config");
  if (!object || object->empty()) return;
  const Fields chunk(*object, fields.key("dual_chunk_attention_config"));
  // sparse_…: how to compute less of it; here all of it is computed.
  static constexpr const char* kKnown[] = {"chunk_size",
                                           "local_size",
                                           "original_max_position_embeddings",
                                           "sparse_attention_config",
                                           "sparse_attention_enabled",
                                           "sparse_attention_threshold",
                                           "sparse_attention_last_q"};
  chunk.refuse_unknown(kKnown);
  DualChunkConfig& dual_chunk = config.dual_chunk;
  dual_chunk.chunk_size = chunk.required_count("chunk_size");
  dual_chunk.local_size = chunk.required_count("local_size");
  dual_chunk.original_max_positions = chunk.count("original_max_position_embeddings", 0);
  if (dual_chunk.chunk_size > kMaxPositions) refuse_config(chunk.key("chunk_size"), "is too large");
  if (dual_chunk.local_size >= dual_chunk.chunk_size) {
    refuse_config(chunk.key("local_size"),
                  "is " + std::to_string(dual_chunk.local_size) + ", must be below chunk_size");
  }
  if (dual_chunk.length() % kPageSize != 0) {
    refuse_config(chunk.key("chunk_size - local_size"), "is " + std::to_string(dual_chunk.length()) +
                                                            ", must be a multiple of " + std::to_string(kPageSize) +
                                                            ", the tokens of a KV page");
  }
  if (config.yarn.enabled) {
    refuse_config(fields.key("dual_chunk_attention_config"),
                  "does not go together with YaRN: one of them extends the context, not both");
  }
}

// transformers: `layer_types` decides when given, else the layers from max_window_layers on; nothing slides unless
// use_sliding_window is true.
void read_windows(const Fields& fields, ModelConfig& config) {
  config.layer_window.assign(config.num_layers, 0);
  const bool enabled = fields.flag("use_sliding_window", false);
  const bool has_window = enabled && (fields.find("sliding_window") || !fields.has("sliding_window"));
  const uint32_t window = has_window ? fields.count("sliding_window", 4096) : 0;
  if (has_window && window == 0) refuse_config(fields.key("sliding_window"), "is 0");

  const Json* types = fields.find("layer_types");
  if (!types) {
    const uint32_t first = fields.count("max_window_layers", 28);
    for (uint32_t i = first; has_window && i < config.num_layers; ++i) config.layer_window[i] = window;
    return;
  }
  if (!types->is_array() || types->size() != config.num_layers) {
    refuse_config(fields.key("layer_types"), "must be a list with one entry a layer");
  }
  for (uint32_t i = 0; i < config.num_layers; ++i) {
    const std::string type = (*types)[i].is_string() ? (*types)[i].get<std::string>() : "";
    if (type == "full_attention" || type == "attention") continue;
    if (type != "sliding_attention") {
      refuse_config(fields.key("layer_types"),
                    "has " + printable(type) + "; supported are full_attention, sliding_attention");
    }
    if (!has_window) {
      refuse_config(fields.key("layer_types"),
                    "has sliding_attention, but use_sliding_window is off or there is no "
                    "sliding_window");
    }
    config.layer_window[i] = window;
  }
}

void read_eos(const Fields& fields, ModelConfig& config) {
  const Json* value = fields.find("eos_token_id");
  if (!value) return;
  const std::string key = fields.key("eos_token_id");
  if (!value->is_array()) {
    add_eos(config, fields.as_count(*value, "eos_token_id"), key, ErrorCode::bad_config);
    return;
  }
  if (value->size() > 1024) refuse_config(key, "has more than 1024 entries");
  for (const Json& id : *value) add_eos(config, fields.as_count(id, "eos_token_id"), key, ErrorCode::bad_config);
}

void read_generation_defaults(const Json& document, ModelConfig& config) {
  const Fields fields(document, "generation_config.json");
  read_eos(fields, config);
  auto real = [&](const char* name) { return static_cast<float>(fields.number(name, -1)); };
  config.default_temperature = real("temperature");
  config.default_top_p = real("top_p");
  config.default_repetition_penalty = real("repetition_penalty");
  if (fields.find("top_k")) {
    config.default_top_k = static_cast<int32_t>(std::min<uint32_t>(fields.count("top_k", 0), 0x7fffffff));
  }
  if (!fields.flag("do_sample", true)) config.default_temperature = 0;  // greedy
  check_sampling_defaults(config, "generation_config.json: ");
}

}  // namespace

void read_json_config(const ModelFiles& files, ModelConfig& config) {
  const Fields fields(files.config, "config.json");
  ConfigLabels labels;
  check_architecture(fields, config);
  check_refused_keys(fields, config);
  read_sizes(fields, config, labels);
  read_rope(fields, config, labels);
  check_sizes(config, labels);
  finish_yarn(config, labels);
  read_dual_chunk(fields, config);
  read_windows(fields, config);
  // A head of the file's own is used even when the config ties it, as transformers 5 does when the two differ.
  config.tie_word_embeddings = fields.flag("tie_word_embeddings", false) && !find_tensor(files, "lm_head.weight");
  read_eos(fields, config);
  if (!files.generation_config.is_null()) read_generation_defaults(files.generation_config, config);
}

}  // namespace qwin
