// SPDX-License-Identifier: Apache-2.0
// The shape and rules of a dense Qwen2, Qwen2.5 or Qwen3 model, from GGUF metadata or config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/model_files.h"

namespace qwin {

// YaRN (arXiv 2309.00071): each frequency is interpolated by a ramp between beta_fast and beta_slow.
struct YarnConfig {
  double factor = 1.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double attention_factor = 1.0;  // what cos and sin are multiplied by; resolved by the reader
  uint32_t original_max_positions = 0;
  bool truncate = true;  // the ramp begins and ends at whole dimensions
  bool enabled = false;
};

// Dual-chunk attention (arXiv 2402.17463) as Qwen2.5-1M has it: keys are rotated to their place in a chunk, and no key
// is ever further away than chunk_size.
struct DualChunkConfig {
  uint32_t chunk_size = 0;  // 0: none
  uint32_t local_size = 0;
  uint32_t original_max_positions = 0;  // beyond it scores are scaled up; 0: never

  bool enabled() const { return chunk_size > 0; }
  uint32_t length() const { return chunk_size - local_size; }  // of a chunk
};

struct ModelConfig {
  std::string architecture;  // "qwen2" or "qwen3"
  std::string name;          // general.name or the directory's name
  uint32_t hidden_size = 0;
  uint32_t intermediate_size = 0;
  uint32_t num_layers = 0;
  uint32_t num_heads = 0;
  uint32_t num_kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t vocab_size = 0;     // rows of the embedding; ids at or above the tokenizer's size are padding
  uint32_t max_positions = 0;  // the model's own context length, with YaRN the extended one
  float rms_norm_eps = 0;
  double rope_theta = 0;
  YarnConfig yarn;
  DualChunkConfig dual_chunk;
  bool tie_word_embeddings = false;  // the head is embed_tokens; false when the file carries a head of its own
  bool qkv_bias = false;             // qwen2: yes
  bool qk_norm = false;              // qwen3: RMSNorm over head_dim on q and k

  // [num_layers]. 0: the layer is exact (every earlier key). W > 0: the query at position p sees the keys p - W + 1 ...
  // p.
  std::vector<uint32_t> layer_window;

  // From generation_config.json or GGUF, for `qwin show` and the defaults of sampling. Negative = not given.
  std::vector<uint32_t> eos_token_ids;
  float default_temperature = -1, default_top_p = -1, default_repetition_penalty = -1;
  int32_t default_top_k = -1;
};

// Reads and checks every key. What the forward pass cannot honour exactly is refused with Error(bad_config) naming the
// key.
ModelConfig read_model_config(const ModelFiles& files);

// Checks that every tensor the config asks for is there in the right shape (Error missing_tensor or bad_shape, naming
// it). Returns one line a tensor that nothing asks for.
std::vector<std::string> check_tensors(const ModelConfig& config, const ModelFiles& files);

}  // namespace qwin
