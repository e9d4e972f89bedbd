// SPDX-License-Identifier: Apache-2.0
// The weights of a dense Qwen model in kernel form, as named members; nothing is looked up by name after loading.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/buffer.h"
#include "model/config.h"
#include "ops/context.h"
#include "ops/output_head.h"
#include "ops/packed_weight.h"

namespace qwin {

// Vectors are float32; nullptr where the architecture has none (Qwen2: no norms of q and k, Qwen3: no biases).
struct LayerWeights {
  const float* input_layernorm = nullptr;           // [hidden_size]
  PackedWeight q_proj;                              // [num_heads * head_dim, hidden_size]
  PackedWeight k_proj;                              // [num_kv_heads * head_dim, hidden_size]
  PackedWeight v_proj;                              // [num_kv_heads * head_dim, hidden_size]
  const float* q_bias = nullptr;                    // [num_heads * head_dim]
  const float* k_bias = nullptr;                    // [num_kv_heads * head_dim]
  const float* v_bias = nullptr;                    // [num_kv_heads * head_dim]
  const float* q_norm = nullptr;                    // [head_dim]
  const float* k_norm = nullptr;                    // [head_dim]
  bool large_keys = false;                          // some channel of K is large in every token
  PackedWeight o_proj;                              // [hidden_size, num_heads * head_dim]
  const float* post_attention_layernorm = nullptr;  // [hidden_size]
  PackedWeight gate_proj;                           // [intermediate_size, hidden_size]
  PackedWeight up_proj;                             // [intermediate_size, hidden_size]
  PackedWeight down_proj;                           // [hidden_size, intermediate_size]
};

struct ModelWeights {
  StoredMatrix embed_tokens;         // [vocab_size, hidden_size], read from the file a row at a time
  StoredMatrix embed_residual;       // [embed_residual_rows, hidden_size], added to rows of it
  ResidualRows embed_residual_rows;  // nullptr: none
  std::vector<LayerWeights> layers;
  const float* norm = nullptr;    // [hidden_size]
  PackedWeight lm_head;           // [vocab_size, hidden_size]; the tied embedding where the file has no head of its own
  HeadResidual lm_head_residual;  // of some of its rows

  Buffer tiles;    // every packed weight, in the order they are read
  Buffer vectors;  // every float32 vector
  Buffer copies;   // of a borrowed model: what is read after loading
};

// Called with the bytes packed so far and in all.
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

// How matrices are kept in memory.
enum class WeightForm {
  stored,   // in the file's own bits; F32, F16 and BF16 in Q8_0
  q4,       // quantized while they are loaded: Q4, the head Q5
  q8,       // Q8
  float32,  // not at all: the oracle reads the file's rows
};

// The type a matrix of the model is packed as. Rows that are no multiple of 128 columns stay in their stored form.
DType packed_type(WeightForm form, const StoredMatrix& stored, bool is_head);

// Anonymous memory load_weights() will take.
uint64_t weight_memory_bytes(const ModelConfig& config, const ModelFiles& files, WeightForm form);

// Repacks every matrix once. `files` must stay open, unless they are borrowed: embeddings (and float32 rows) are read
// from them.
// Throws Error: missing_tensor, bad_shape, non_finite.
ModelWeights load_weights(const ModelConfig& config, const ModelFiles& files, WeightForm form, OpsContext& context,
                          const LoadProgress& progress);

}  // namespace qwin
