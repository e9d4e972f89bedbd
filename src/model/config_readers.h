// SPDX-License-Identifier: Apache-2.0
// Internal to the config files: what the two readers (config.json and GGUF metadata) share.
#pragma once

#include <string>

#include "model/config.h"

namespace qwin {

// Far above every published model, far below what overflows 32-bit sizes.
inline constexpr uint32_t kMaxPositions = 1u << 30;

// How the file at hand spells each size, so that every refusal names the key its author wrote.
struct ConfigLabels {
  std::string hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim, vocab_size, max_positions;
  std::string rms_norm_eps, rope_theta;
  std::string yarn_factor{}, yarn_beta_fast{}, yarn_beta_slow{}, yarn_attention_factor{}, yarn_original_max_positions{};
};

[[noreturn]] void refuse_config(const std::string& key, const std::string& why);

// A number as a message shows it.
std::string show_number(double value);

// `value` as uint32, refused with `key` when it does not fit.
uint32_t to_uint32(uint64_t value, const std::string& key);

// Bounds of every size, and that they agree with each other. The readers call it before anything is allocated by them.
void check_sizes(const ModelConfig& config, const ConfigLabels& labels);

// Checks the YaRN numbers and stretches max_positions to the extended context. No-op when YaRN is off.
void finish_yarn(ModelConfig& config, const ConfigLabels& labels);

// The default scaling of cos and sin under YaRN: 0.1 * mscale * ln(factor) + 1.
double yarn_mscale(double factor, double mscale);

// Adds `id` to the end-of-sequence ids unless it is there already.
void add_eos(ModelConfig& config, uint64_t id, const std::string& key, ErrorCode code);

// Checks the sampling defaults that were given; `labels` are spelled temperature, top_p, top_k, repetition_penalty.
void check_sampling_defaults(const ModelConfig& config, const std::string& prefix);

void read_json_config(const ModelFiles& files, ModelConfig& config);
void read_gguf_config(const ModelFiles& files, ModelConfig& config);

}  // namespace qwin
