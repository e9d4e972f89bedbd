// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/checkpoint_names.h"
#include "model/row_residual.h"
#include "quant/dequantize.h"

namespace qwin {

namespace {

// Qwen2.5-Coder, mean KL where the input of q, k and v keeps the remainder of its quantization in all layers, in the 7
// of 24 and 6 of 28 whose biases reach 8, in none: .00015, .00017, .00018 on the 0.5B, .00011 each time on the 1.5B; of
// 7,486 tokens .00039, .00041, .00045 and .00086, .00084, .00092.
constexpr float kLargeKeyBias = 8.0f;

// Walks the checkpoint in the order the forward pass reads it: first to add up the memory, then to fill it.
class WeightLoader {
 public:
  WeightLoader(const ModelConfig& config, const ModelFiles& files, WeightForm form)
      : config_(config), files_(files), form_(form) {}

  // Without a destination only the sizes are added up.
  ModelWeights walk() {
    ModelWeights weights;
    const uint64_t hidden = config_.hidden_size;
    const TensorInfo& embedding =
        require_tensor(files_, "model.embed_tokens.weight", shape(config_.vocab_size, hidden));
    const StoredMatrix embed_tokens = stored(embedding);
    weights.embed_tokens = kept(embed_tokens);
    if (const auto residual = find_row_residual(files_, embedding)) {
      weights.embed_residual = kept(stored(*residual->tensor));
      weights.embed_residual_rows = residual->rows;
    }
    for (uint32_t i = 0; i < config_.num_layers; ++i)
      weights.layers.push_back(layer("model.layers." + std::to_string(i) + "."));
    weights.norm = vector("model.norm.weight", hidden);
    const TensorInfo* head = find_tensor(files_, "lm_head.weight");
    if (head != nullptr) head = &require_tensor(files_, "lm_head.weight", shape(config_.vocab_size, hidden));
    weights.lm_head = pack(head == nullptr ? embed_tokens : stored(*head), true);
    if (const auto residual = find_row_residual(files_, head == nullptr ? embedding : *head)) {
      weights.lm_head_residual = {.weight = pack_as(stored(*residual->tensor), packed_type(residual->tensor->dtype)),
                                  .rows = residual->rows};
    }
    return weights;
  }

  // Requires: a walk without destination before. The buffers are in the next walk's result.
  ModelWeights fill(OpsContext& context, const LoadProgress& progress) {
    Buffer tiles(tile_bytes_), vectors(vector_floats_ * sizeof(float)), copies(copy_bytes_);
    context_ = &context;
    tiles_ = tiles.data();
    vectors_ = vectors.as<float>();
    copies_ = copies.data();
    total_ = tile_bytes_;
    progress_ = &progress;
    tile_bytes_ = vector_floats_ = copy_bytes_ = 0;
    ModelWeights weights = walk();
    weights.tiles = std::move(tiles);
    weights.vectors = std::move(vectors);
    weights.copies = std::move(copies);
    return weights;
  }

  uint64_t memory_bytes() const { return tile_bytes_ + vector_floats_ * sizeof(float) + copy_bytes_; }

 private:
  struct Shape {
    uint64_t dims[2];
    operator std::span<const uint64_t>() const { return dims; }
  };
  static Shape shape(uint64_t rows, uint64_t columns) { return {{rows, columns}}; }

  static StoredMatrix stored(const TensorInfo& tensor) {
    return {tensor.data.data(), tensor.dtype, static_cast<size_t>(tensor.shape[0]),
            static_cast<size_t>(tensor.shape[1])};
  }

  PackedWeight matrix(const std::string& name, uint64_t rows, uint64_t columns) {
    return pack(stored(require_tensor(files_, name, shape(rows, columns))), false);
  }

  PackedWeight pack(const StoredMatrix& source, bool is_head) {
    return pack_as(source, packed_type(form_, source, is_head));
  }

  PackedWeight pack_as(const StoredMatrix& source, DType type) {
    if (form_ == WeightForm::float32) return {.stored = kept(source)};
    PackedWeight weight{.stored = source};
    if (tiles_ != nullptr) weight = pack_weight(context_->team, source, type, tiles_ + tile_bytes_);
    if (files_.is_borrowed) weight.stored.data = nullptr;
    tile_bytes_ += packed_weight_bytes(source, type);
    if (tiles_ != nullptr && *progress_) (*progress_)(tile_bytes_, total_);
    return weight;
  }

  // A matrix whose rows are read after loading: where it is, or a copy of what is only borrowed.
  StoredMatrix kept(StoredMatrix source) {
    if (!files_.is_borrowed) return source;
    const uint64_t bytes = source.rows * source.row_bytes();
    if (copies_ != nullptr) std::memcpy(copies_ + copy_bytes_, source.data, bytes);
    source.data = copies_ == nullptr ? nullptr : copies_ + copy_bytes_;
    copy_bytes_ += (bytes + 63) / 64 * 64;
    return source;
  }

  const float* vector(const std::string& name, uint64_t size) {
    const uint64_t dims[] = {size};
    const TensorInfo& tensor = require_tensor(files_, name, dims);
    float* destination = vectors_ == nullptr ? nullptr : vectors_ + vector_floats_;
    if (destination != nullptr) dequantize(tensor.dtype, tensor.data.data(), size, destination);
    vector_floats_ += (size + 15) / 16 * 16;
    return destination;
  }

  // Norms that K has instead of a bias give it a size of their own, which nobody has measured: they count as large.
  bool has_large_keys(const LayerWeights& w, uint64_t channels) const {
    if (config_.qk_norm) return true;
    if (w.k_bias == nullptr) return false;
    return std::any_of(w.k_bias, w.k_bias + channels, [](float bias) { return std::fabs(bias) >= kLargeKeyBias; });
  }

  LayerWeights layer(const std::string& prefix) {
    const uint64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    const uint64_t q = uint64_t{config_.num_heads} * config_.head_dim,
                   kv = uint64_t{config_.num_kv_heads} * config_.head_dim;
    const std::string attn = prefix + "self_attn.", mlp = prefix + "mlp.";
    LayerWeights w;
    w.input_layernorm = vector(prefix + "input_layernorm.weight", hidden);
    w.q_proj = matrix(attn + "q_proj.weight", q, hidden);
    w.k_proj = matrix(attn + "k_proj.weight", kv, hidden);
    w.v_proj = matrix(attn + "v_proj.weight", kv, hidden);
    if (config_.qkv_bias) {
      w.q_bias = vector(attn + "q_proj.bias", q);
      w.k_bias = vector(attn + "k_proj.bias", kv);
      w.v_bias = vector(attn + "v_proj.bias", kv);
    }
    if (config_.qk_norm) {
      w.q_norm = vector(attn + "q_norm.weight", config_.head_dim);
      w.k_norm = vector(attn + "k_norm.weight", config_.head_dim);
    }
    w.large_keys = has_large_keys(w, kv);
    w.o_proj = matrix(attn + "o_proj.weight", hidden, q);
    w.post_attention_layernorm = vector(prefix + "post_attention_layernorm.weight", hidden);
    w.gate_proj = matrix(mlp + "gate_proj.weight", inner, hidden);
    w.up_proj = matrix(mlp + "up_proj.weight", inner, hidden);
    w.down_proj = matrix(mlp + "down_proj.weight", hidden, inner);
    return w;
  }

  const ModelConfig& config_;
  const ModelFiles& files_;
  const WeightForm form_;
  OpsContext* context_ = nullptr;
  std::byte* tiles_ = nullptr;
  float* vectors_ = nullptr;
  std::byte* copies_ = nullptr;
  const LoadProgress* progress_ = nullptr;
  uint64_t total_ = 0;
  uint64_t tile_bytes_ = 0, vector_floats_ = 0, copy_bytes_ = 0;
};

}  // namespace

DType packed_type(WeightForm form, const StoredMatrix& stored, bool is_head) {
  if (stored.columns % kSpan != 0 || form == WeightForm::stored) return packed_type(stored.dtype);
  if (form == WeightForm::q4) return is_head ? DType::q5 : DType::q4;
  return DType::q8;
}

uint64_t weight_memory_bytes(const ModelConfig& config, const ModelFiles& files, WeightForm form) {
  WeightLoader loader(config, files, form);
  loader.walk();
  return loader.memory_bytes();
}

ModelWeights load_weights(const ModelConfig& config, const ModelFiles& files, WeightForm form, OpsContext& context,
                          const LoadProgress& progress) {
  WeightLoader loader(config, files, form);
  loader.walk();
  return loader.fill(context, progress);
}

}  // namespace qwin
