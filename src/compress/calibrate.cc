// SPDX-License-Identifier: Apache-2.0
#include "compress/calibrate.h"

#include <algorithm>
#include <cmath>

#include "core/cpu_info.h"
#include "model/checkpoint_names.h"
#include "qwin/error.h"
#include "tokenizer/tokenizer.h"

namespace qwin {
namespace {

// What makes each input of a layer, channel by channel, and the matrices that read it, in the order of LayerInput; the
// head is in none. Attention mixes v's rows and gates multiply up's, but no channel with another.
struct Stage {
  std::array<const char*, 2> makers;
  std::array<const char*, 3> readers;
};
constexpr std::array<Stage, 4> kStages = {{
    {{"input_layernorm.weight"}, {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}},
    {{"self_attn.v_proj.weight", "self_attn.v_proj.bias"}, {"self_attn.o_proj.weight"}},
    {{"post_attention_layernorm.weight"}, {"mlp.gate_proj.weight", "mlp.up_proj.weight"}},
    {{"mlp.up_proj.weight"}, {"mlp.down_proj.weight"}},
}};

std::string hf_name(size_t layer, const char* tensor) { return "model.layers." + std::to_string(layer) + "." + tensor; }

// Every token counts alike, so that one with massive activations, as Qwen2.5's first ones, has no more to say than any
// other: what its values are multiplied by for a mean square of 1.
float token_factor(const float* x, size_t columns) {
  double square = 0;
  for (size_t i = 0; i < columns; ++i) square += static_cast<double>(x[i]) * x[i];
  return square == 0 ? 0 : static_cast<float>(std::sqrt(static_cast<double>(columns) / square));
}

}  // namespace

Calibration::Calibration(const ModelFiles& files, std::string_view text, ThreadTeam& team, Progress on_tokens)
    : files_(files),
      config_(read_model_config(files)),
      team_(team),
      on_tokens_(std::move(on_tokens)),
      kernels_(make_cpu_kernels(CpuIsa::float32)) {
  check_tensors(config_, files);
  token_ids_ = Tokenizer::load(files)->encode(text, true);
  piece_ = std::min<size_t>(kMaxBatchTokens, static_cast<size_t>(config_.max_positions));
  if (token_ids_.size() < piece_) {
    throw Error(ErrorCode::invalid_argument, "the calibration text has " + std::to_string(token_ids_.size()) +
                                                 " tokens; at least " + std::to_string(piece_) + " are needed");
  }
  token_ids_.resize(token_ids_.size() / piece_ * piece_);
  for (size_t layer = 0; layer < config_.num_layers; ++layer) know_layer(layer);
  const bool is_tied = find_tensor(files, "lm_head.weight") == nullptr;
  know(is_tied ? "model.embed_tokens.weight" : "lm_head.weight", config_.num_layers,
       static_cast<size_t>(LayerInput::head));
  const RunnerOptions options{
      .isa = CpuIsa::float32, .num_threads = team.size(), .cores = allowed_cores(), .kv_type = KvType::f32};
  runner_ = std::make_unique<Runner>(config_, files, options, LoadProgress{});
  pages_.resize((piece_ + kPageSize - 1) / kPageSize);
  for (size_t i = 0; i < pages_.size(); ++i) pages_[i] = static_cast<int32_t>(i);
  runner_->allocate_pages(static_cast<int32_t>(pages_.size()));
  runner_->observe(
      [this](size_t layer, LayerInput which, const Matrix& x) { add(layer, static_cast<size_t>(which), x); });
}

void Calibration::know(const std::string& hf_name, size_t layer, std::optional<size_t> input) {
  if (input && columns(*input) % kTile != 0) return;
  places_.emplace(stored_tensor_name(files_, hf_name), Place{layer, input});
}

void Calibration::know_layer(size_t layer) {
  for (size_t input = 0; input < kStages.size(); ++input) {
    for (const char* reader : kStages[input].readers) {
      if (reader != nullptr) know(hf_name(layer, reader), layer, input);
    }
  }
  for (const Stage& stage : kStages) {
    for (const char* maker : stage.makers) {
      if (maker != nullptr) know(hf_name(layer, maker), layer, std::nullopt);
    }
  }
}

bool Calibration::has_input(size_t layer, size_t input) const {
  return columns(input) % kTile == 0 &&
         (layer == config_.num_layers) == (static_cast<LayerInput>(input) == LayerInput::head);
}

size_t Calibration::columns(size_t input) const {
  switch (static_cast<LayerInput>(input)) {
    case LayerInput::o: return size_t{config_.num_heads} * config_.head_dim;
    case LayerInput::down: return config_.intermediate_size;
    default: return config_.hidden_size;
  }
}

TensorCalibration Calibration::of(const std::string& tensor) {
  const auto found = places_.find(tensor);
  if (found == places_.end()) return {};
  const auto& [number, input] = found->second;
  if (number < first_layer_ || number >= first_layer_ + layers_.size()) read_from(number);
  make_ready(number);
  const Layer& layer = layers_[number - first_layer_];
  const auto factors = layer.factors.find(tensor);
  return {.feedback = input ? layer.inputs[*input].get() : nullptr,
          .factors = factors == layer.factors.end() ? nullptr : &factors->second};
}

void Calibration::make_ready(size_t layer) {
  Layer& known = layers_[layer - first_layer_];
  if (known.is_ready) return;
  for (const auto& input : known.inputs) {
    if (input != nullptr) input->factorize(kernels_, team_);
  }
  if (layer < config_.num_layers) {
    for (size_t input = 0; input < kStages.size(); ++input) balance(layer, input);
  }
  known.is_ready = true;
}

void Calibration::balance(size_t layer, size_t input) {
  const Stage& stage = kStages[input];
  // A matrix that stays as it is stored may have no room for factors.
  const TensorInfo* maker = find_tensor(files_, hf_name(layer, stage.makers[0]));
  if (!has_input(layer, input) || (maker->shape.size() == 2 && maker->shape[1] % kTile != 0)) return;
  const bool is_attention = static_cast<LayerInput>(input) == LayerInput::o;
  ChannelBalance balance(columns(input), is_attention ? config_.head_dim : 1,
                         is_attention ? config_.num_heads / config_.num_kv_heads : 1);
  for (const char* reader : stage.readers) {
    if (reader != nullptr) balance.add_reader(*find_tensor(files_, hf_name(layer, reader)));
  }
  Layer& known = layers_[layer - first_layer_];
  const std::vector<float> factors = balance.column_factors(*known.inputs[input]);
  known.inputs[input]->divide_inputs(factors, team_);
  for (const char* reader : stage.readers) {
    if (reader != nullptr) known.factors[stored_tensor_name(files_, hf_name(layer, reader))].columns = factors;
  }
  for (const char* name : stage.makers) {
    if (name != nullptr)
      known.factors[stored_tensor_name(files_, hf_name(layer, name))].rows = balance.channel_factors(factors);
  }
}

const VocabularyUse& Calibration::vocabulary_use() {
  if (!use_) {
    use_.emplace(config_.vocab_size);
    read_from(0, true);
  }
  return *use_;
}

void Calibration::add_use(const Batch& batch) {
  use_->begin_piece();
  for (const int32_t id : batch.token_ids) use_->add_token(id);
  runner_->for_logits(batch.token_ids.size(), [&](size_t, std::span<const float> logits) { use_->add_logits(logits); });
}

void Calibration::read_from(size_t layer, bool counts_use) {
  layers_.clear();
  first_layer_ = layer;
  size_t bytes = 0;
  for (size_t input = 0; input < kStages.size(); ++input) bytes += ErrorFeedback::memory_bytes(columns(input));
  const size_t room = memory_info().available_bytes / 2 / std::max<size_t>(bytes, 1);
  if (room == 0) {
    throw Error(ErrorCode::does_not_fit, "calibration needs " + std::to_string(bytes) +
                                             " bytes a layer, and half of what is free must hold one");
  }
  layers_.resize(std::min<size_t>(room, config_.num_layers + 1 - layer));
  for (size_t i = 0; i < layers_.size(); ++i) {
    for (size_t input = 0; input < kNumInputs; ++input) {
      if (has_input(layer + i, input)) layers_[i].inputs[input] = std::make_unique<ErrorFeedback>(columns(input));
    }
  }
  for (size_t first = 0; first < token_ids_.size(); first += piece_) {
    Batch batch;
    const auto begin = token_ids_.begin() + static_cast<ptrdiff_t>(first);
    batch.token_ids.assign(begin, begin + static_cast<ptrdiff_t>(piece_));
    batch.ranges.assign(1, {.pages = pages_.data(), .num_tokens = piece_});
    runner_->run(batch);
    if (counts_use) add_use(batch);
    if (on_tokens_) on_tokens_(static_cast<int64_t>(first + piece_), static_cast<int64_t>(token_ids_.size()));
  }
}

void Calibration::add(size_t layer, size_t input, const Matrix& x) {
  if (layer < first_layer_ || layer >= first_layer_ + layers_.size() || !has_input(layer, input)) return;
  if (columns_.size() < x.columns * x.rows * sizeof(float)) columns_ = Buffer(x.columns * x.rows * sizeof(float));
  float* out = columns_.as<float>();
  for (size_t t = 0; t < x.rows; ++t) {
    const float factor = token_factor(x.row(t), x.columns);
    for (size_t i = 0; i < x.columns; ++i) out[i * x.rows + t] = factor * x.row(t)[i];
  }
  layers_[layer - first_layer_].inputs[input]->add(kernels_, team_, out, x.rows);
}

}  // namespace qwin
