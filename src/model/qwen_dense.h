// SPDX-License-Identifier: Apache-2.0
// The forward pass of dense Qwen2, Qwen2.5 (arXiv 2412.15115) and Qwen3 (arXiv 2505.09388) models.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/matrix.h"
#include "model/config.h"
#include "model/query_rotations.h"
#include "model/rope.h"
#include "model/weights.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/output_head.h"

namespace qwin {

// One step's work: the tokens of every range one after the other.
struct ForwardBatch {
  std::span<const int32_t> token_ids;  // [num_tokens]
  std::span<const QueryRange> ranges;  // in order of first_row, covering every token
  std::span<const KvView> kv_layers;   // [num_layers]
};

// Layers [first, last) of a forward pass. The first ones begin with the embeddings, others with the residual stream as
// it is.
struct LayerRange {
  size_t first, last;
};

// The matrices of a model; those of no layer last.
enum class ModelMatrix { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, embed_tokens, lm_head };

// What the matrices of a layer read, and the head behind the last layer.
enum class LayerInput { qkv, o, gate_up, down, head };
// Sees every input of a forward(), [num_tokens, columns]; the head's as that of layer num_layers.
using LayerObserver = std::function<void(size_t layer, LayerInput which, const Matrix& x)>;

// Sees the share of exact attention that a plan keeps, [num_tokens, num_heads].
using KeptObserver = std::function<void(size_t layer, const Matrix& kept)>;

// Owns the weights and every buffer of a step; nothing is allocated after construction. One thread drives it.
class QwenDense {
 public:
  // `max_tokens` a forward(), `max_logit_rows` a logits().
  QwenDense(ModelConfig config, ModelWeights weights, OpsContext& context, size_t max_tokens, size_t max_logit_rows);

  // Runs all layers, writes K and V of the tokens to their pages and keeps the last hidden states for logits().
  void forward(const ForwardBatch& batch) { forward(batch, {0, config_.num_layers}); }
  // A part of it.
  void forward(const ForwardBatch& batch, LayerRange layers);
  // [num_tokens, hidden_size] of the last forward(), to be read and written between parts.
  Matrix residual_stream() { return hidden_states_; }

  // Raw logits [rows.size(), vocab_size] of these rows of the last forward(). Valid until the next call.
  Matrix logits(std::span<const int32_t> rows);
  // Their hidden states [rows.size(), hidden_size] after the last norm. Valid until the next call.
  Matrix hidden_states(std::span<const int32_t> rows);

  // From now on the observer is called. Requires: float32 arithmetic, in which every input is there as a matrix.
  void observe(LayerObserver observer);
  // A matrix as it is stored, which another one of the same shape may stand in for. Requires: float32 arithmetic.
  StoredMatrix& stored_matrix(ModelMatrix which, size_t layer);

  // From now on every forward() also tells what the windows and memory of `plan` would keep of its attention.
  void observe_kept(const QueryRange& plan, KeptObserver observer);

  const ModelConfig& config() const { return config_; }
  size_t max_tokens() const { return max_tokens_; }
  size_t max_logit_rows() const { return max_logit_rows_; }

 private:
  void embed(std::span<const int32_t> token_ids);
  void add_embed_residual(int32_t token_id, float* embedding);
  void fill_rope(const ForwardBatch& batch);
  void attention_block(size_t layer, const ForwardBatch& batch);
  void mlp_block(size_t layer);
  void show_head_input();
  void show_kept(size_t layer, const Queries& queries, const ForwardBatch& batch);
  void show(size_t layer, LayerInput which, const Matrix& x) const {
    if (observer_) observer_(layer, which, x);
  }

  const ModelConfig config_;
  ModelWeights weights_;
  const RopeTable rope_;
  OpsContext& context_;
  LayerObserver observer_;
  QueryRange kept_plan_;
  KeptObserver kept_observer_;
  const size_t max_tokens_, max_logit_rows_;

  Buffer memory_;
  Matrix hidden_states_;  // [num_tokens, hidden_size] the residual stream
  Matrix normed_;         // [num_tokens, hidden_size]
  Matrix q_, k_, v_;      // [num_tokens, heads * head_dim]
  Matrix attention_out_;  // [num_tokens, num_heads * head_dim]
  Matrix gate_, up_;      // [num_tokens, intermediate_size] for float32 work
  Matrix cos_, sin_;      // [num_tokens, head_dim / 2]
  Matrix last_hidden_;    // [max_logit_rows, hidden_size]
  Matrix logits_;         // [max_logit_rows, vocab_size]
  QueryRotations query_rotations_;
  LinearInput input_, down_input_;
  LinearScratch scratch_;
  OutputHead head_;
};

// Bytes the constructor allocates besides the weights.
uint64_t activation_memory_bytes(const ModelConfig& config, size_t max_tokens, size_t max_logit_rows);

}  // namespace qwin
