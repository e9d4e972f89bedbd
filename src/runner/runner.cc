// SPDX-License-Identifier: Apache-2.0
#include "runner/runner.h"

#include <cstring>

#include "core/check.h"
#include "model/key_channels.h"

namespace qwin {

KvShape kv_shape(const ModelConfig& config, const ModelFiles& files, KvType type) {
  return {.num_layers = static_cast<int>(config.num_layers),
          .num_kv_heads = static_cast<int>(config.num_kv_heads),
          .head_dim = static_cast<int>(config.head_dim),
          .type = type,
          .wide = wide_key_channels(config, files)};
}

WeightForm RunnerOptions::weight_form() const {
  if (isa == CpuIsa::float32) return WeightForm::float32;
  return quantize_bits == 4 ? WeightForm::q4 : quantize_bits == 8 ? WeightForm::q8 : WeightForm::stored;
}

Runner::Runner(const ModelConfig& config, const ModelFiles& files, const RunnerOptions& options,
               const LoadProgress& progress)
    : context_(options.isa, options.num_threads, options.cores),
      model_(config, load_weights(config, files, options.weight_form(), context_, progress), context_, kMaxBatchTokens,
             kMaxLogitRows),
      kv_shape_(qwin::kv_shape(config, files, options.kv_type)),
      head_ranks_(options.head_ranks) {}

void Runner::allocate_pages(int32_t num_pages, const KvDisk& disk) {
  QWIN_CHECK(store_ == nullptr);
  store_ = std::make_unique<KvStore>(kv_shape_, num_pages, disk);
  for (int i = 0; i < kv_shape_.num_layers; ++i) kv_layers_.push_back(store_->layer(i));
  for (size_t i = 0; !head_ranks_.empty() && i < kv_layers_.size(); ++i)
    kv_layers_[i].global_ranks = head_ranks_.data() + i * static_cast<size_t>(kv_shape_.num_kv_heads);
}

void Runner::copy_page(int32_t from, int32_t to) {
  std::memcpy(page(to).data(), page(from).data(), kv_shape_.page_bytes());
}

void Runner::run(const Batch& batch) { run(batch, {0, model_.config().num_layers}); }

void Runner::run(const Batch& batch, LayerRange layers) {
  QWIN_CHECK(store_ != nullptr);
  model_.forward({.token_ids = batch.token_ids, .ranges = batch.ranges, .kv_layers = kv_layers_}, layers);
  store_->trim();
}

}  // namespace qwin
