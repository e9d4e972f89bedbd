// SPDX-License-Identifier: Apache-2.0
// A model's files to one file of qwin's own weight types, tensor by tensor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "compress/calibrate.h"
#include "core/thread_team.h"
#include "io/model_files.h"

namespace qwin {

// Which type each kind of matrix becomes. Norms and biases become F32.
struct QuantizeProfile {
  DType attention = DType::q4;  // q, k, v, o
  DType ffn = DType::q4;        // gate, up, down
  DType head = DType::q5;       // the head and the embedding
  size_t residual_part = 0;     // one of their rows in so many gets a residual if they are Q4; 0: none
  // What a plan decides, by a tensor's name: its type, and how many of its rows get a residual.
  std::map<std::string, DType> types = {};
  std::map<std::string, size_t> residual_rows = {};
  size_t group_size = 32;  // columns that share a sub-scale; more only costs accuracy
};

// "q4", "q4-ffn8" or "q8". Throws Error(invalid_argument) for another name.
QuantizeProfile quantize_profile(std::string_view name);

// In the order of use, the head and the embedding last: what calibration knows of a layer need not be kept once the
// next one is reached.
std::vector<const TensorInfo*> tensors_by_layer(const ModelFiles& source);

// A matrix with rows of a multiple of 128 columns; others keep their type.
bool is_quantizable(const TensorInfo& tensor);
DType quantized_type(const TensorInfo& tensor, const QuantizeProfile& profile);

// The head or the embedding, which may be one tensor.
bool is_vocabulary(const TensorInfo& tensor);

// One row in `part`, whole tiles.
size_t rows_of_part(const TensorInfo& tensor, size_t part);
// How many rows of a tensor get a residual.
size_t residual_rows(const TensorInfo& tensor, const QuantizeProfile& profile);

// Rows of a residual are Q4, too.
inline constexpr DType kResidualType = DType::q4;
// The bytes of a residual, the numbers of its rows among them.
uint64_t residual_bytes(const TensorInfo& tensor, size_t num_rows);

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

// Sees the finished file, under a name of this process alone; may throw to refuse it.
using ResultCheck = std::function<void(const std::string& path)>;

struct QuantizeOptions {
  QuantizeProfile profile = {};
  // Where it knows a tensor, what rounding a column loses is fed forward, and channels get factors. It chooses the rows
  // of residuals, too.
  Calibration* calibration = nullptr;
  QuantizeProgress progress = {};
  ResultCheck check = {};
};

// The size of the file that quantize_model() would write to `path`, residuals and their rows' numbers not counted.
uint64_t quantized_bytes(const ModelFiles& source, const QuantizeProfile& profile, const std::string& path,
                         ThreadTeam& team);

// Throws Error(invalid_argument) for a source with residuals: its rows alone are not the model.
void check_source(const ModelFiles& source);

// Throws Error(invalid_argument) when `path` is one of the source's files: replacing what is being read would take its
// bytes away.
void check_destination(const ModelFiles& source, const std::string& path);

// Writes `path`, which is there whole or not at all. Holds one tensor of the result at a time in memory. Throws Error:
// invalid_argument when residuals are asked for without calibration, and what check_source() and check_destination()
// refuse; non_finite, io, and what calibration, the configuration and the result are refused for.
QuantizeReport quantize_model(const ModelFiles& source, const QuantizeOptions& options, const std::string& path,
                              ThreadTeam& team);

}  // namespace qwin
