// SPDX-License-Identifier: Apache-2.0
// A model's files to one file of qwin's own weight types, tensor by tensor.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/calibrate.h"
#include "core/thread_team.h"
#include "io/model_files.h"

namespace qwin {

// Which type each kind of matrix becomes. Norms and biases stay as they are.
struct QuantizeProfile {
  DType attention = DType::q4;  // q, k, v, o
  DType ffn = DType::q4;        // gate, up, down
  DType head = DType::q6;       // the head and the embedding
  size_t group_size = 32;       // columns that share a sub-scale; more only costs accuracy
};

// "q4", "q4-ffn8" or "q8". Throws Error(invalid_argument) for another name.
QuantizeProfile quantize_profile(std::string_view name);

// The type a tensor becomes; its own where it is no matrix, or has rows of no multiple of 128 columns.
DType quantized_type(const TensorInfo& tensor, const QuantizeProfile& profile);

struct TensorReport {
  std::string name;
  DType from = DType::f32, to = DType::f32;
  uint64_t elements = 0, bytes = 0;
  double relative_error = 0;  // of squares: what the products with calibration's inputs lose; without, the weights
};

struct QuantizeReport {
  std::vector<TensorReport> tensors;
  uint64_t file_bytes = 0;
  double bits_per_weight = 0;  // of all tensors
  double fp16_share = 0;       // the file's bytes beside 2 a weight
};

// Called with the bytes of the source read so far and in all; may throw to stop.
using QuantizeProgress = std::function<void(uint64_t done, uint64_t total)>;

// Writes `path`, which is there whole or not at all. Holds one tensor of the result at a time in memory. Where
// `calibration` (or nullptr) knows a tensor, what rounding a column loses is fed forward. Throws Error:
// invalid_argument when `path` is one of the source's files, non_finite, io, and what calibration and the configuration
// are refused for.
QuantizeReport quantize_model(const ModelFiles& source, const QuantizeProfile& profile, Calibration* calibration,
                              const std::string& path, ThreadTeam& team, const QuantizeProgress& progress);

}  // namespace qwin
