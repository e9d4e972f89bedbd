// SPDX-License-Identifier: Apache-2.0
// Rows of a stored matrix to qwin's own types: each weight for itself, or what is lost fed forward.
#pragma once

#include "compress/channel_factors.h"
#include "io/model_files.h"

namespace qwin {

// Squares that add up over rows: of what a row's product with the inputs loses, and of the product. Without
// calibration inputs are independent and alike: squares of the weights.
struct Squares {
  double error = 0, weights = 0;
};

// A row of a stored matrix as it is, [columns].
void read_row(const TensorInfo& tensor, size_t row, float* weights);

// Rows [first, last) of `tensor`, times its factors, to `type`, into `out`, where row 0 would begin, and `squares`,
// likewise. The result does not depend on which rows are done together. Throws Error(non_finite).
void quantize_rows(const TensorInfo& tensor, DType type, size_t group_size, size_t first, size_t last,
                   const TensorCalibration& calibration, const CpuKernels& kernels, std::byte* out, Squares* squares);

}  // namespace qwin
