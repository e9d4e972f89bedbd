// SPDX-License-Identifier: Apache-2.0
// What a model's matrices are multiplied by while it reads a text: how errors of one column are made good in others,
// and which factors move weights from one matrix to another where they lose less.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/channel_factors.h"
#include "compress/vocabulary_use.h"
#include "io/model_files.h"
#include "runner/runner.h"

namespace qwin {

// Not thread-safe. Keeps the sums of as many layers as half of the memory that is free holds, and reads the text again
// for the next ones.
class Calibration {
 public:
  // Called with tokens read and in all, once more for every reading.
  using Progress = std::function<void(int64_t done, int64_t total)>;

  // Loads the model, in float32; `files` must outlive this. Throws Error: invalid_argument for a text of less than 256
  // tokens (or as many as the model takes), does_not_fit, and what the model is refused for.
  Calibration(const ModelFiles& files, std::string_view text, ThreadTeam& team, Progress on_tokens);

  // Of the tensor of that name in the files. No feedback for one that multiplies nothing (norms, biases, an embedding
  // that is no head) or has rows of no multiple of 128 columns; factors for the norms, matrices and biases of layers
  // that make or read channels with factors. All of a layer's tensors must be quantized with theirs, or none. Valid
  // until the next call. Quickest when layers are asked for in order, the head behind the last one.
  TensorCalibration of(const std::string& tensor);

  // Of the text's tokens. Asked for before the first layer it costs no further reading.
  const VocabularyUse& vocabulary_use();

 private:
  static constexpr size_t kNumInputs = 5;  // of LayerInput
  struct Layer {
    std::array<std::unique_ptr<ErrorFeedback>, kNumInputs> inputs;  // those it has
    std::map<std::string, ChannelFactors> factors;                  // by tensors' names
    bool is_ready = false;                                          // inputs are factorized, factors chosen
  };
  struct Place {
    size_t layer;
    std::optional<size_t> input;  // that the tensor reads
  };

  size_t columns(size_t input) const;
  bool has_input(size_t layer, size_t input) const;
  void know(const std::string& hf_name, size_t layer, std::optional<size_t> input);
  void know_layer(size_t layer);
  void make_ready(size_t layer);
  void balance(size_t layer, size_t input);
  // Counting their use takes every token through the head.
  void read_from(size_t layer, bool counts_use = false);
  void add(size_t layer, size_t input, const Matrix& x);
  void add_use(const Batch& batch);

  const ModelFiles& files_;
  const ModelConfig config_;
  ThreadTeam& team_;
  const Progress on_tokens_;
  const CpuKernels kernels_;
  std::map<std::string, Place> places_;
  std::vector<int32_t> token_ids_;  // whole pieces
  size_t piece_ = 0;
  std::vector<int32_t> pages_;
  std::unique_ptr<Runner> runner_;
  std::optional<VocabularyUse> use_;  // once it was asked for
  size_t first_layer_ = 0;
  std::vector<Layer> layers_;  // from first_layer_ on
  Buffer columns_;             // of one input: [columns, num_tokens]
};

}  // namespace qwin
