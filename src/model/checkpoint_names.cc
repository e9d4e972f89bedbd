// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen3 tensors are stored unchanged in GGUF: q and k rows are not permuted (half-split RoPE), so a name is
// all that differs.
#include "model/checkpoint_names.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/printable.h"
#include "model/row_residual.h"

namespace qwin {
namespace {

struct NamePair {
  std::string_view hf, gguf;
};
constexpr NamePair kModelNames[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};
constexpr NamePair kLayerNames[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.v_proj.bias", "attn_v.bias"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
};
constexpr std::string_view kLayerPrefix = "model.layers.";

std::string show_shape(std::span<const uint64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

struct Requirement {
  std::string hf_name;
  std::vector<uint64_t> shape;  // outermost first
};

void add_layer(const ModelConfig& c, uint32_t layer, std::vector<Requirement>& out) {
  const uint64_t hidden = c.hidden_size, head = c.head_dim, inner = c.intermediate_size;
  const uint64_t q_rows = head * c.num_heads, kv_rows = head * c.num_kv_heads;
  const std::string prefix = std::string(kLayerPrefix) + std::to_string(layer) + ".";
  auto add = [&](const char* name, std::vector<uint64_t> shape) { out.push_back({prefix + name, std::move(shape)}); };
  add("input_layernorm.weight", {hidden});
  add("self_attn.q_proj.weight", {q_rows, hidden});
  add("self_attn.k_proj.weight", {kv_rows, hidden});
  add("self_attn.v_proj.weight", {kv_rows, hidden});
  if (c.qkv_bias) {
    add("self_attn.q_proj.bias", {q_rows});
    add("self_attn.k_proj.bias", {kv_rows});
    add("self_attn.v_proj.bias", {kv_rows});
  }
  if (c.qk_norm) {
    add("self_attn.q_norm.weight", {head});
    add("self_attn.k_norm.weight", {head});
  }
  add("self_attn.o_proj.weight", {hidden, q_rows});
  add("post_attention_layernorm.weight", {hidden});
  add("mlp.gate_proj.weight", {inner, hidden});
  add("mlp.up_proj.weight", {inner, hidden});
  add("mlp.down_proj.weight", {hidden, inner});
}

std::vector<Requirement> required_tensors(const ModelConfig& c) {
  std::vector<Requirement> out;
  out.push_back({"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}});
  for (uint32_t i = 0; i < c.num_layers; ++i) add_layer(c, i, out);
  out.push_back({"model.norm.weight", {c.hidden_size}});
  if (!c.tie_word_embeddings) out.push_back({"lm_head.weight", {c.vocab_size, c.hidden_size}});
  return out;
}

// The layer a tensor belongs to and its name inside, or false for tensors outside of layers.
bool split_layer_name(std::string_view name, uint64_t& layer, std::string_view& rest) {
  for (std::string_view prefix : {kLayerPrefix, std::string_view("blk.")}) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const size_t dot = name.find('.');
    if (dot == 0 || dot > 9) return false;  // also npos
    layer = 0;
    for (char c : name.substr(0, dot)) {
      if (c < '0' || c > '9') return false;
      layer = layer * 10 + static_cast<uint64_t>(c - '0');
    }
    rest = name.substr(dot + 1);
    return true;
  }
  return false;
}

// True for a tensor that nothing asks for but that a model of this family would apply: leaving it out would silently
// give another model. Plain extras (inv_freq buffers, layers beyond the last) change nothing.
bool would_change_result(const ModelConfig& config, std::string_view name) {
  if (name.starts_with("rope_freqs.") || name.starts_with("rope_factors_")) return true;
  if (name.ends_with(".residual.weight")) return true;
  uint64_t layer = 0;
  std::string_view rest;
  if (!split_layer_name(name, layer, rest) || layer >= config.num_layers) return false;
  if (rest.ends_with(".bias")) return true;
  return std::any_of(std::begin(kLayerNames), std::end(kLayerNames),
                     [&](const NamePair& pair) { return rest == pair.hf || rest == pair.gguf; });
}

}  // namespace

std::string gguf_tensor_name(const std::string& hf_name) {
  for (const NamePair& pair : kModelNames) {
    if (hf_name == pair.hf) return std::string(pair.gguf);
  }
  uint64_t layer = 0;
  std::string_view rest;
  if (!hf_name.starts_with(kLayerPrefix) || !split_layer_name(hf_name, layer, rest)) return {};
  for (const NamePair& pair : kLayerNames) {
    if (rest == pair.hf) return "blk." + std::to_string(layer) + "." + std::string(pair.gguf);
  }
  return {};
}

std::string stored_tensor_name(const ModelFiles& files, const std::string& hf_name) {
  return files.format == ModelFiles::Format::gguf ? gguf_tensor_name(hf_name) : hf_name;
}

const TensorInfo* find_tensor(const ModelFiles& files, const std::string& hf_name) {
  return files.tensors.find(stored_tensor_name(files, hf_name));
}

const TensorInfo& require_tensor(const ModelFiles& files, const std::string& hf_name, std::span<const uint64_t> shape) {
  const std::string name = stored_tensor_name(files, hf_name);
  const TensorInfo* tensor = files.tensors.find(name);
  if (!tensor) throw Error(ErrorCode::missing_tensor, name + " (shape " + show_shape(shape) + ") is not in the file");
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end())) {
    throw Error(ErrorCode::bad_shape,
                name + " has shape " + show_shape(tensor->shape) + ", the configuration asks for " + show_shape(shape));
  }
  return *tensor;
}

std::vector<std::string> check_tensors(const ModelConfig& config, const ModelFiles& files) {
  std::unordered_set<std::string> asked_for;
  for (const Requirement& requirement : required_tensors(config)) {
    const TensorInfo& tensor = require_tensor(files, requirement.hf_name, requirement.shape);
    asked_for.insert(tensor.name);
    const bool is_vocabulary = tensor.shape[0] == config.vocab_size && tensor.shape.size() == 2;
    if (!is_vocabulary) continue;
    if (const auto residual = find_row_residual(files, tensor)) asked_for.insert(residual->tensor->name);
  }
  std::vector<std::string> extra;
  for (const TensorInfo& tensor : files.tensors.tensors()) {
    if (asked_for.contains(tensor.name) || tensor.name.ends_with("rotary_emb.inv_freq")) continue;
    if (would_change_result(config, tensor.name)) {
      throw Error(ErrorCode::bad_config, printable(tensor.name) + " has no place in a " + config.architecture +
                                             " model; without it results would differ");
    }
    extra.push_back(printable(tensor.name) + " is not used by a " + config.architecture + " model");
  }
  return extra;
}

}  // namespace qwin
