// SPDX-License-Identifier: Apache-2.0
// Executes plain batches on a model and the KV pages; knows no requests and no policy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "kv_store/kv_store.h"
#include "model/qwen_dense.h"

namespace qwin {

// Tokens to run in one step. Ranges are query ranges over the pages of their sequences.
struct Batch {
  std::vector<int32_t> token_ids;
  std::vector<QueryRange> ranges;
};

struct RunnerOptions {
  CpuIsa isa = CpuIsa::reference;
  int num_threads = 1;
  std::vector<int> cores;
  KvType kv_type = KvType::f16;
  int quantize_bits = 0;                 // 4 or 8: matrices are quantized while they are loaded
  std::vector<int32_t> head_ranks = {};  // KvView::global_ranks of all layers; empty: not known

  WeightForm weight_form() const;
};

inline constexpr size_t kMaxBatchTokens = 256;
inline constexpr size_t kMaxLogitRows = 32;

class Runner {
 public:
  // Loads the weights; `files` must outlive the runner. Throws as load_weights() does.
  Runner(const ModelConfig& config, const ModelFiles& files, const RunnerOptions& options,
         const LoadProgress& progress);

  // Takes memory for the pages. Call once, before run(). Throws as KvStore does.
  void allocate_pages(int32_t num_pages, const KvDisk& disk = {});

  // K and V of one page, all layers.
  std::span<std::byte> page(int32_t id) { return store_->page(id); }
  void copy_page(int32_t from, int32_t to);
  // Keeps to KvDisk::max_resident_bytes, as every run does, after pages came from elsewhere.
  void trim_pages() { store_->trim(); }
  // Requires: 1 … kMaxBatchTokens tokens.
  void run(const Batch& batch);
  // A part of it, on the terms of QwenDense::forward().
  void run(const Batch& batch, LayerRange layers);
  Matrix residual_stream() { return model_.residual_stream(); }
  // Logits [rows.size(), vocab_size] of rows of the last batch, at most kMaxLogitRows; valid until the next call.
  Matrix logits(std::span<const int32_t> rows) { return model_.logits(rows); }
  // on_logits(row, logits [vocab_size]) for the rows from 0 on of the last batch.
  template <typename F>
  void for_logits(size_t num_rows, F&& on_logits) {
    for (size_t first = 0; first < num_rows; first += kMaxLogitRows) {
      std::vector<int32_t> rows(std::min(kMaxLogitRows, num_rows - first));
      std::iota(rows.begin(), rows.end(), static_cast<int32_t>(first));
      const Matrix all = logits(rows);
      for (size_t i = 0; i < rows.size(); ++i) on_logits(first + i, std::span<const float>(all.row(i), all.columns));
    }
  }
  // Hidden states [rows.size(), hidden_size] after the last norm, on the same terms.
  Matrix hidden_states(std::span<const int32_t> rows) { return model_.hidden_states(rows); }

  // Runs body(i) for [0, count) on the threads that compute the steps; for work on their results. It must not throw.
  template <typename F>
  void for_each(size_t count, F&& body) {
    context_.team.for_each(count, 1, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) body(i);
    });
  }

  // Shows the inputs of every layer's matrices, on the terms of QwenDense::observe().
  void observe(LayerObserver observer) { model_.observe(std::move(observer)); }
  // On the terms of QwenDense::stored_matrix().
  StoredMatrix& stored_matrix(ModelMatrix which, size_t layer) { return model_.stored_matrix(which, layer); }

  // Tells what a plan would keep of the attention of every run(), on the terms of QwenDense::observe_kept().
  void observe_kept(const QueryRange& plan, KeptObserver observer) { model_.observe_kept(plan, std::move(observer)); }

  const char* kernels_name() const { return context_.float32() ? "float32" : context_.kernels.name; }
  const KvShape& kv_shape() const { return kv_shape_; }

 private:
  OpsContext context_;
  QwenDense model_;
  KvShape kv_shape_;
  std::unique_ptr<KvStore> store_;
  std::vector<KvView> kv_layers_;
  std::vector<int32_t> head_ranks_;  // [num_layers, num_kv_heads] or empty
};

// What the pages of this model hold.
KvShape kv_shape(const ModelConfig& config, const ModelFiles& files, KvType type);

}  // namespace qwin
