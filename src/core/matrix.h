// SPDX-License-Identifier: Apache-2.0
// A view of float32 rows. Activations are all of this form: one row a token.
#pragma once

#include <cstddef>

namespace qwin {

struct Matrix {
  float* data = nullptr;
  size_t rows = 0;
  size_t columns = 0;
  size_t stride = 0;  // floats from one row to the next

  float* row(size_t i) const { return data + i * stride; }
  Matrix first_rows(size_t count) const { return {data, count, columns, stride}; }
};

}  // namespace qwin
