// SPDX-License-Identifier: Apache-2.0
#include "model/qwen_dense.h"

#include <algorithm>

#include "core/check.h"
#include "ops/elementwise.h"
#include "quant/dequantize.h"

namespace qwin {

namespace {

size_t widest_input(const ModelConfig& c) {
  return std::max({size_t{c.hidden_size}, size_t{c.intermediate_size}, size_t{c.num_heads} * c.head_dim});
}

// Cuts matrices one after the other from a block of memory; without memory it only counts.
class Carver {
 public:
  explicit Carver(float* memory) : memory_(memory) {}
  Matrix take(size_t rows, size_t columns) {
    Matrix m{memory_ == nullptr ? nullptr : memory_ + used_, rows, columns, columns};
    used_ += (rows * columns + 15) / 16 * 16;
    return m;
  }
  size_t used() const { return used_; }

 private:
  float* memory_;
  size_t used_ = 0;
};

struct Activations {
  Matrix hidden_states, normed, q, k, v, attention_out, gate, up, cos, sin, last_hidden, logits;
};

Activations carve(Carver& carver, const ModelConfig& c, size_t tokens, size_t logit_rows) {
  const size_t q = size_t{c.num_heads} * c.head_dim, kv = size_t{c.num_kv_heads} * c.head_dim;
  return {
      .hidden_states = carver.take(tokens, c.hidden_size),
      .normed = carver.take(tokens, c.hidden_size),
      .q = carver.take(2 * tokens, q),
      .k = carver.take(2 * tokens, kv),
      .v = carver.take(2 * tokens, kv),
      .attention_out = carver.take(tokens, q),
      .gate = carver.take(tokens, c.intermediate_size),
      .up = carver.take(tokens, c.intermediate_size),
      .cos = carver.take(tokens, c.head_dim / 2),
      .sin = carver.take(tokens, c.head_dim / 2),
      .last_hidden = carver.take(logit_rows, c.hidden_size),
      .logits = carver.take(logit_rows, c.vocab_size),
  };
}

size_t activation_floats(const ModelConfig& config, size_t max_tokens, size_t max_logit_rows) {
  Carver counter(nullptr);
  carve(counter, config, max_tokens, max_logit_rows);
  return counter.used();
}

}  // namespace

uint64_t activation_memory_bytes(const ModelConfig& config, size_t max_tokens, size_t max_logit_rows) {
  // The quantized copies of the two inputs take some 1.5 bytes a value, group sums 0.75 for each of three parts.
  return activation_floats(config, max_tokens, max_logit_rows) * sizeof(float) +
         QueryRotations::bytes(config, max_tokens) + 2 * max_tokens * widest_input(config) * 5;
}

QwenDense::QwenDense(ModelConfig config, ModelWeights weights, OpsContext& context, size_t max_tokens,
                     size_t max_logit_rows)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      rope_(make_rope(config_)),
      context_(context),
      max_tokens_(max_tokens),
      max_logit_rows_(max_logit_rows),
      memory_(activation_floats(config_, max_tokens, max_logit_rows) * sizeof(float)),
      query_rotations_(config_, max_tokens),
      input_(2 * std::max(max_tokens, max_logit_rows), widest_input(config_)),
      down_input_(max_tokens, config_.intermediate_size),
      scratch_(2 * std::max(max_tokens, max_logit_rows), widest_input(config_), kMaxLinearParts),
      head_(max_logit_rows, config_.vocab_size, weights_.lm_head_residual) {
  Carver carver(memory_.as<float>());
  const Activations a = carve(carver, config_, max_tokens, max_logit_rows);
  hidden_states_ = a.hidden_states, normed_ = a.normed, q_ = a.q, k_ = a.k, v_ = a.v, attention_out_ = a.attention_out;
  gate_ = a.gate, up_ = a.up, cos_ = a.cos, sin_ = a.sin, last_hidden_ = a.last_hidden, logits_ = a.logits;
}

void QwenDense::embed(std::span<const int32_t> token_ids) {
  const StoredMatrix& table = weights_.embed_tokens;
  for (size_t t = 0; t < token_ids.size(); ++t) {
    QWIN_CHECK(token_ids[t] >= 0 && static_cast<size_t>(token_ids[t]) < table.rows);
    dequantize(table.dtype, table.data + static_cast<size_t>(token_ids[t]) * table.row_bytes(), table.columns,
               hidden_states_.row(t));
    if (weights_.embed_residual_rows != nullptr) add_embed_residual(token_ids[t], hidden_states_.row(t));
  }
}

void QwenDense::add_embed_residual(int32_t token_id, float* embedding) {
  const std::vector<int32_t>& rows = *weights_.embed_residual_rows;
  const auto found = std::ranges::lower_bound(rows, token_id);
  if (found == rows.end() || *found != token_id) return;
  const StoredMatrix& table = weights_.embed_residual;
  float* residual = normed_.row(0);  // not yet in use
  dequantize(table.dtype, table.data + static_cast<size_t>(found - rows.begin()) * table.row_bytes(), table.columns,
             residual);
  add_row(residual, table.columns, embedding);
}

void QwenDense::fill_rope(const ForwardBatch& batch) {
  for (const QueryRange& range : batch.ranges) {
    for (size_t t = 0; t < range.num_tokens; ++t) {
      fill_cos_sin(rope_, query_rotations_.own_position(range.first_position + static_cast<int64_t>(t)),
                   cos_.row(range.first_row + t), sin_.row(range.first_row + t));
    }
  }
  query_rotations_.set_positions(rope_, batch.ranges);
}

void QwenDense::forward(const ForwardBatch& batch, LayerRange layers) {
  const size_t tokens = batch.token_ids.size();
  QWIN_CHECK(tokens > 0 && tokens <= max_tokens_ && batch.kv_layers.size() == config_.num_layers);
  for (Matrix* m : {&hidden_states_, &normed_, &q_, &k_, &v_, &attention_out_, &gate_, &up_, &cos_, &sin_})
    m->rows = tokens;

  if (layers.first == 0) embed(batch.token_ids);
  fill_rope(batch);
  for (size_t i = layers.first; i < layers.last; ++i) {
    attention_block(i, batch);
    mlp_block(i);
  }
  if (layers.last == config_.num_layers) show_head_input();
}

// Of all tokens: a step itself computes the logits of a few.
void QwenDense::show_head_input() {
  if (!observer_) return;
  rms_norm(context_, hidden_states_, weights_.norm, config_.rms_norm_eps, normed_);
  show(config_.num_layers, LayerInput::head, normed_);
}

void QwenDense::observe(LayerObserver observer) {
  QWIN_CHECK(context_.float32());
  observer_ = std::move(observer);
}

StoredMatrix& QwenDense::stored_matrix(ModelMatrix which, size_t layer) {
  QWIN_CHECK(context_.float32());
  switch (which) {
    case ModelMatrix::q_proj: return weights_.layers[layer].q_proj.stored;
    case ModelMatrix::k_proj: return weights_.layers[layer].k_proj.stored;
    case ModelMatrix::v_proj: return weights_.layers[layer].v_proj.stored;
    case ModelMatrix::o_proj: return weights_.layers[layer].o_proj.stored;
    case ModelMatrix::gate_proj: return weights_.layers[layer].gate_proj.stored;
    case ModelMatrix::up_proj: return weights_.layers[layer].up_proj.stored;
    case ModelMatrix::down_proj: return weights_.layers[layer].down_proj.stored;
    case ModelMatrix::embed_tokens: return weights_.embed_tokens;
    case ModelMatrix::lm_head: break;
  }
  return weights_.lm_head.stored;
}

void QwenDense::observe_kept(const QueryRange& plan, KeptObserver observer) {
  kept_plan_ = plan;
  kept_observer_ = std::move(observer);
}

void QwenDense::show_kept(size_t layer, const Queries& queries, const ForwardBatch& batch) {
  if (!kept_observer_) return;
  std::vector<QueryRange> ranges(batch.ranges.begin(), batch.ranges.end());
  for (QueryRange& range : ranges)
    range.window = kept_plan_.window, range.num_sinks = kept_plan_.num_sinks, range.memory = kept_plan_.memory;
  std::vector<float> kept(batch.token_ids.size() * config_.num_heads);
  const Matrix shares{kept.data(), batch.token_ids.size(), config_.num_heads, config_.num_heads};
  kept_attention(context_, queries, batch.kv_layers[layer], ranges, shares);
  kept_observer_(layer, shares);
}

void QwenDense::attention_block(size_t index, const ForwardBatch& batch) {
  const LayerWeights& layer = weights_.layers[index];
  const KvView& kv = batch.kv_layers[index];
  rms_norm(context_, hidden_states_, layer.input_layernorm, config_.rms_norm_eps, normed_);
  show(index, LayerInput::qkv, normed_);
  const LinearPart qkv[] = {{.weight = &layer.q_proj, .bias = layer.q_bias, .out = q_},
                            {.weight = &layer.k_proj, .bias = layer.k_bias, .out = k_},
                            {.weight = &layer.v_proj, .bias = layer.v_bias, .out = v_}};
  // Scores multiply the error of q by K, whose biases reach hundreds in some layers: there the input of q, k and v
  // keeps what quantization leaves over, for a fifteenth more of the layer's dot products.
  if (layer.large_keys) {
    linear_with_remainder(context_, input_, scratch_, normed_, qkv);
  } else {
    input_.set(context_, normed_);
    linear(context_, input_, scratch_, qkv);
  }
  if (config_.qk_norm) {
    rms_norm_heads(context_, q_, layer.q_norm, config_.rms_norm_eps, config_.head_dim);
    rms_norm_heads(context_, k_, layer.k_norm, config_.rms_norm_eps, config_.head_dim);
  }
  const Queries queries = query_rotations_.rotate(context_, q_, cos_, sin_);
  rope(context_, k_, cos_, sin_, config_.head_dim);
  store_kv(context_, k_, v_, kv, batch.ranges);
  show_kept(index, queries, batch);
  attention(context_, queries, kv, batch.ranges, config_.layer_window[index], attention_out_);
  show(index, LayerInput::o, attention_out_);

  input_.set(context_, attention_out_);
  const LinearPart o[] = {{.weight = &layer.o_proj, .residual = hidden_states_.data, .out = hidden_states_}};
  linear(context_, input_, scratch_, o);
}

void QwenDense::mlp_block(size_t index) {
  const LayerWeights& layer = weights_.layers[index];
  rms_norm(context_, hidden_states_, layer.post_attention_layernorm, config_.rms_norm_eps, normed_);
  input_.set(context_, normed_);
  show(index, LayerInput::gate_up, normed_);
  gate_up(context_, input_, scratch_, layer.gate_proj, layer.up_proj, gate_, up_, down_input_);
  show(index, LayerInput::down, gate_);  // in float32 gate_up() leaves its result there
  const LinearPart down[] = {{.weight = &layer.down_proj, .residual = hidden_states_.data, .out = hidden_states_}};
  linear(context_, down_input_, scratch_, down);
}

Matrix QwenDense::hidden_states(std::span<const int32_t> rows) {
  QWIN_CHECK(!rows.empty() && rows.size() <= max_logit_rows_);
  const Matrix hidden = last_hidden_.first_rows(rows.size());
  gather_rows(hidden_states_, rows, hidden);
  rms_norm(context_, hidden, weights_.norm, config_.rms_norm_eps, hidden);
  return hidden;
}

Matrix QwenDense::logits(std::span<const int32_t> rows) {
  const Matrix hidden = hidden_states(rows);
  head_.run(context_, input_, scratch_, hidden, weights_.lm_head, logits_.first_rows(rows.size()));
  return logits_.first_rows(rows.size());
}

}  // namespace qwin
