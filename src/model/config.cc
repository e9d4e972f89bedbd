// SPDX-License-Identifier: Apache-2.0
// Checks shared by both readers. A number that passes here can be divided by, allocated by and looped over.
#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "model/config_readers.h"

namespace qwin {
namespace {

// Far above every published model, far below what would overflow 32-bit sizes or exhaust memory by metadata alone.
constexpr uint32_t kMaxLayers = 1024;
constexpr uint32_t kMaxHeads = 4096;
constexpr uint32_t kMaxWidth = 1u << 20;
constexpr uint32_t kMaxVocab = 1u << 24;
constexpr uint32_t kMaxHeadDim = 256;
constexpr uint32_t kHeadDimMultiple = 16;  // floats of the widest vector: attention takes no half ones

void check_range(const std::string& key, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return;
  refuse_config(
      key, "is " + std::to_string(value) + ", must be between " + std::to_string(low) + " and " + std::to_string(high));
}

void check_real(const std::string& key, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return;
  refuse_config(
      key, "is " + show_number(value) + ", must be a number between " + show_number(low) + " and " + show_number(high));
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

void refuse_config(const std::string& key, const std::string& why) {
  throw Error(ErrorCode::bad_config, key + " " + why);
}

std::string show_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

uint32_t to_uint32(uint64_t value, const std::string& key) {
  if (value > std::numeric_limits<uint32_t>::max()) refuse_config(key, "is " + std::to_string(value) + ", too large");
  return static_cast<uint32_t>(value);
}

void check_sizes(const ModelConfig& config, const ConfigLabels& labels) {
  check_range(labels.num_layers, config.num_layers, 1, kMaxLayers);
  check_range(labels.hidden_size, config.hidden_size, 1, kMaxWidth);
  check_range(labels.intermediate_size, config.intermediate_size, 1, kMaxWidth);
  check_range(labels.num_heads, config.num_heads, 1, kMaxHeads);
  check_range(labels.num_kv_heads, config.num_kv_heads, 1, kMaxHeads);
  check_range(labels.vocab_size, config.vocab_size, 1, kMaxVocab);
  check_range(labels.max_positions, config.max_positions, 1, kMaxPositions);
  if (config.num_heads % config.num_kv_heads != 0) {
    refuse_config(labels.num_heads, "(" + std::to_string(config.num_heads) + ") must be a multiple of " +
                                        labels.num_kv_heads + " (" + std::to_string(config.num_kv_heads) + ")");
  }
  check_range(labels.head_dim, config.head_dim, kHeadDimMultiple, kMaxHeadDim);
  if (config.head_dim % kHeadDimMultiple != 0) {
    refuse_config(labels.head_dim, "is " + std::to_string(config.head_dim) + ", must be a multiple of " +
                                       std::to_string(kHeadDimMultiple));
  }
  if (!(std::isfinite(config.rms_norm_eps) && config.rms_norm_eps > 0 && config.rms_norm_eps <= 1)) {
    refuse_config(labels.rms_norm_eps, "is " + show_number(config.rms_norm_eps) + ", must be above 0 and at most 1");
  }
  if (!(std::isfinite(config.rope_theta) && config.rope_theta > 1 && config.rope_theta <= 1e30)) {
    refuse_config(labels.rope_theta, "is " + show_number(config.rope_theta) + ", must be above 1 and finite");
  }
}

void finish_yarn(ModelConfig& config, const ConfigLabels& labels) {
  if (!config.yarn.enabled) return;
  const YarnConfig& yarn = config.yarn;
  check_real(labels.yarn_factor, yarn.factor, 1, 4096);
  check_real(labels.yarn_beta_fast, yarn.beta_fast, 1e-3, 1e6);
  check_real(labels.yarn_beta_slow, yarn.beta_slow, 1e-3, 1e6);
  check_real(labels.yarn_attention_factor, yarn.attention_factor, 1e-3, 1e3);
  check_range(labels.yarn_original_max_positions, yarn.original_max_positions, 1, kMaxPositions);
  if (yarn.beta_fast < yarn.beta_slow) refuse_config(labels.yarn_beta_fast, "is below " + labels.yarn_beta_slow);
  const double extended = std::floor(yarn.original_max_positions * yarn.factor);
  check_real(labels.yarn_factor + " x " + labels.yarn_original_max_positions, extended, 1, kMaxPositions);
  config.max_positions = std::max(config.max_positions, static_cast<uint32_t>(extended));
}

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

void add_eos(ModelConfig& config, uint64_t id, const std::string& key, ErrorCode code) {
  if (id >= config.vocab_size) {
    throw Error(code,
                key + " is " + std::to_string(id) + ", beyond the vocabulary of " + std::to_string(config.vocab_size));
  }
  auto& ids = config.eos_token_ids;
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(static_cast<uint32_t>(id));
}

void check_sampling_defaults(const ModelConfig& config, const std::string& prefix) {
  // -1 stands for "not given" in every one of these.
  if (config.default_temperature != -1) check_real(prefix + "temperature", config.default_temperature, 0, 100);
  if (config.default_top_p != -1) check_real(prefix + "top_p", config.default_top_p, 0, 1);
  if (config.default_repetition_penalty != -1) {
    check_real(prefix + "repetition_penalty", config.default_repetition_penalty, 1e-3, 100);
  }
  if (config.default_top_k < -1) refuse_config(prefix + "top_k", "must not be negative");
}

ModelConfig read_model_config(const ModelFiles& files) {
  ModelConfig config;
  config.name = base_name(files.path);
  if (files.format == ModelFiles::Format::gguf) {
    read_gguf_config(files, config);
  } else {
    read_json_config(files, config);
  }
  config.qkv_bias = config.architecture == "qwen2";
  config.qk_norm = config.architecture == "qwen3";
  return config;
}

}  // namespace qwin
