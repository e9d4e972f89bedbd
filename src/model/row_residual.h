// SPDX-License-Identifier: Apache-2.0
// What quantizing lost of some rows of a matrix, as a second matrix beside it: row i of "X.residual.weight" is added to
// row `rows[i]` of "X.weight". The vocabulary's likely tokens are stored so.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/model_files.h"

namespace qwin {

// "token_embd.weight" -> "token_embd.residual.weight".
std::string residual_tensor_name(const std::string& tensor);
// The metadata key of the rows, an array of u32.
std::string residual_rows_key(const std::string& tensor);

// The weights of a model; residuals only tell more of some of them.
uint64_t num_parameters(const TensorTable& tensors);

struct RowResidual {
  const TensorInfo* tensor = nullptr;                // [rows.size(), columns of the matrix]
  std::shared_ptr<const std::vector<int32_t>> rows;  // ascending
};

// Of this matrix of the files; nothing where there is none. Throws Error, naming tensor or key: missing_tensor when one
// of the two is there alone, bad_shape when they do not fit together or the matrix, bad_config for other rows.
std::optional<RowResidual> find_row_residual(const ModelFiles& files, const TensorInfo& matrix);

}  // namespace qwin
