// SPDX-License-Identifier: Apache-2.0
// How much a model's distributions move when other rows stand in for one of its matrices.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eval/reference_rows.h"
#include "io/model_files.h"
#include "runner/runner.h"

namespace qwin {

// Not thread-safe. Computes in float32, so that nothing else moves them, on some hundred tokens from all over a text.
// The layers before the matrix are run once: matrices are best asked for in the layers' order.
class Sensitivity {
 public:
  // `files` must outlive this. Throws Error: invalid_argument for a text of less than 128 tokens (or as many as the
  // model takes), and what the model is refused for.
  Sensitivity(const ModelFiles& files, std::string_view text, int num_threads);

  // Mean KL, nats, over the tokens when `rows` stand in for the tensor of that name, also where it is the embedding and
  // the head in one. Requires: the tensor is a matrix of the model.
  double loss(const std::string& tensor, const StoredMatrix& rows);

  // How long loss() takes: weights that meet a token.
  uint64_t cost(const std::string& tensor) const;

 private:
  struct Place {
    ModelMatrix which;
    size_t layer;
  };

  void find_places(const ModelFiles& files);
  void cut_text(const std::vector<int32_t>& token_ids);
  // Of all places the tensor stands at.
  size_t first_layer(const std::string& tensor) const;
  // The residual streams before `layer`, of the model as it is.
  void go_to(size_t layer);
  void restore(size_t batch);

  const ModelConfig config_;
  std::unique_ptr<Runner> runner_;
  std::multimap<std::string, Place> places_;
  std::vector<int32_t> pages_;
  std::vector<Batch> batches_;
  size_t layer_ = 0;
  std::vector<std::vector<float>> streams_;  // of each batch before layer_: [num_tokens, hidden_size]
  ReferenceRows reference_;                  // all batches' tokens
};

}  // namespace qwin
