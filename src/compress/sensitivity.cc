// SPDX-License-Identifier: Apache-2.0
#include "compress/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/cpu_info.h"
#include "eval/divergence_sums.h"
#include "model/checkpoint_names.h"
#include "qwin/error.h"
#include "tokenizer/tokenizer.h"

namespace qwin {
namespace {

constexpr size_t kPieceTokens = 128;  // read each for itself
constexpr size_t kMaxPieces = 4;

constexpr std::pair<ModelMatrix, const char*> kLayerMatrices[] = {
    {ModelMatrix::q_proj, "self_attn.q_proj"}, {ModelMatrix::k_proj, "self_attn.k_proj"},
    {ModelMatrix::v_proj, "self_attn.v_proj"}, {ModelMatrix::o_proj, "self_attn.o_proj"},
    {ModelMatrix::gate_proj, "mlp.gate_proj"}, {ModelMatrix::up_proj, "mlp.up_proj"},
    {ModelMatrix::down_proj, "mlp.down_proj"},
};

}  // namespace

Sensitivity::Sensitivity(const ModelFiles& files, std::string_view text, int num_threads)
    : config_(read_model_config(files)) {
  check_tensors(config_, files);
  cut_text(Tokenizer::load(files)->encode(text, true));
  find_places(files);
  const RunnerOptions options{
      .isa = CpuIsa::float32, .num_threads = num_threads, .cores = allowed_cores(), .kv_type = KvType::f32};
  runner_ = std::make_unique<Runner>(config_, files, options, LoadProgress{});
  runner_->allocate_pages(static_cast<int32_t>(pages_.size()));
  for (const Batch& batch : batches_) {
    runner_->run(batch);
    runner_->for_logits(batch.token_ids.size(), [&](size_t, std::span<const float> logits) { reference_.add(logits); });
    runner_->run(batch, {0, 0});
    const Matrix stream = runner_->residual_stream();
    streams_.emplace_back(stream.data, stream.data + stream.rows * stream.columns);
  }
}

// Pieces at equal distances, as many to a batch as it takes, each with pages of its own.
void Sensitivity::cut_text(const std::vector<int32_t>& token_ids) {
  const size_t piece = std::min<size_t>(kPieceTokens, static_cast<size_t>(config_.max_positions));
  const size_t count = std::min(kMaxPieces, token_ids.size() / piece), a_batch = kMaxBatchTokens / piece;
  if (count == 0) {
    throw Error(ErrorCode::invalid_argument, "a text of at least " + std::to_string(piece) +
                                                 " tokens is needed to measure on; this one has " +
                                                 std::to_string(token_ids.size()));
  }
  const size_t pages = (piece + kPageSize - 1) / kPageSize;
  pages_.resize(a_batch * pages);
  std::iota(pages_.begin(), pages_.end(), 0);
  for (size_t i = 0; i < count; ++i) {
    if (i % a_batch == 0) batches_.emplace_back();
    Batch& batch = batches_.back();
    const size_t from = count == 1 ? 0 : (token_ids.size() - piece) / (count - 1) * i;
    batch.ranges.push_back(
        {.pages = pages_.data() + i % a_batch * pages, .first_row = batch.token_ids.size(), .num_tokens = piece});
    const auto begin = token_ids.begin() + static_cast<ptrdiff_t>(from);
    batch.token_ids.insert(batch.token_ids.end(), begin, begin + static_cast<ptrdiff_t>(piece));
  }
}

void Sensitivity::find_places(const ModelFiles& files) {
  for (size_t layer = 0; layer < config_.num_layers; ++layer) {
    for (const auto& [which, name] : kLayerMatrices) {
      const std::string full = "model.layers." + std::to_string(layer) + "." + name + ".weight";
      places_.insert({stored_tensor_name(files, full), {which, layer}});
    }
  }
  const std::string embedding = stored_tensor_name(files, "model.embed_tokens.weight");
  const TensorInfo* head = find_tensor(files, "lm_head.weight");
  places_.insert({embedding, {ModelMatrix::embed_tokens, 0}});
  places_.insert({head == nullptr ? embedding : head->name, {ModelMatrix::lm_head, config_.num_layers}});
}

size_t Sensitivity::first_layer(const std::string& tensor) const {
  const auto [begin, end] = places_.equal_range(tensor);
  return std::min_element(begin, end, [](const auto& a, const auto& b) { return a.second.layer < b.second.layer; })
      ->second.layer;
}

uint64_t Sensitivity::cost(const std::string& tensor) const {
  const uint64_t heads = uint64_t{config_.head_dim} * (2 * config_.num_heads + 2 * config_.num_kv_heads);
  const uint64_t layer = config_.hidden_size * (uint64_t{3} * config_.intermediate_size + heads);
  return uint64_t{config_.vocab_size} * config_.hidden_size + layer * (config_.num_layers - first_layer(tensor));
}

void Sensitivity::restore(size_t batch) {
  // An empty part of the pass gives the stream its number of rows.
  runner_->run(batches_[batch], {layer_, layer_});
  std::ranges::copy(streams_[batch], runner_->residual_stream().data);
}

void Sensitivity::go_to(size_t layer) {
  if (layer == layer_) return;
  const bool back = layer < layer_;
  for (size_t i = 0; i < batches_.size(); ++i) {
    if (!back) restore(i);
    runner_->run(batches_[i], {back ? 0 : layer_, layer});
    std::ranges::copy_n(runner_->residual_stream().data, static_cast<ptrdiff_t>(streams_[i].size()),
                        streams_[i].begin());
  }
  layer_ = layer;
}

double Sensitivity::loss(const std::string& tensor, const StoredMatrix& rows) {
  const auto [begin, end] = places_.equal_range(tensor);
  const size_t first = first_layer(tensor);
  go_to(first);
  std::vector<StoredMatrix> kept;
  for (auto place = begin; place != end; ++place)
    kept.push_back(std::exchange(runner_->stored_matrix(place->second.which, place->second.layer), rows));
  DivergenceSums sums;
  size_t position = 0;
  for (size_t i = 0; i < batches_.size(); ++i) {
    restore(i);
    runner_->run(batches_[i], {first, config_.num_layers});
    runner_->for_logits(batches_[i].token_ids.size(), [&](size_t, std::span<const float> logits) {
      sums.add(reference_.row(position++), logits, false);
    });
  }
  size_t at = 0;
  for (auto place = begin; place != end; ++place)
    runner_->stored_matrix(place->second.which, place->second.layer) = kept[at++];
  return sums.result().mean_kl;
}

}  // namespace qwin
