// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.h"

#include <algorithm>
#include <cstring>

namespace qwin {

namespace {

// Rows worth waking the team for: below some 16k floats the call costs more than the work.
size_t row_grain(size_t columns) { return std::max<size_t>(1, 16384 / columns); }

}  // namespace

void rms_norm(OpsContext& context, const Matrix& x, const float* weight, float eps, const Matrix& out) {
  context.team.for_each(x.rows, row_grain(x.columns), [&](size_t begin, size_t end, int) {
    for (size_t t = begin; t < end; ++t) context.kernels.rms_norm(x.row(t), weight, x.columns, eps, out.row(t));
  });
}

void rms_norm_heads(OpsContext& context, const Matrix& x, const float* weight, float eps, size_t head_dim) {
  context.team.for_each(x.rows, row_grain(x.columns), [&](size_t begin, size_t end, int) {
    for (size_t t = begin; t < end; ++t) {
      for (size_t d = 0; d < x.columns; d += head_dim) {
        context.kernels.rms_norm(x.row(t) + d, weight, head_dim, eps, x.row(t) + d);
      }
    }
  });
}

void rope(OpsContext& context, const Matrix& x, const Matrix& cos, const Matrix& sin, size_t head_dim) {
  context.team.for_each(x.rows, row_grain(x.columns), [&](size_t begin, size_t end, int) {
    for (size_t t = begin; t < end; ++t) {
      for (size_t d = 0; d < x.columns; d += head_dim)
        context.kernels.rope(x.row(t) + d, cos.row(t), sin.row(t), head_dim / 2);
    }
  });
}

void scale_rows(const Matrix& x, std::span<const float> factors) {
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t i = 0; i < x.columns; ++i) x.row(t)[i] *= factors[t];
  }
}

void copy_rows(const Matrix& from, const Matrix& to) {
  for (size_t t = 0; t < from.rows; ++t) std::memcpy(to.row(t), from.row(t), from.columns * sizeof(float));
}

void add_row(const float* from, size_t columns, float* to) {
  for (size_t i = 0; i < columns; ++i) to[i] += from[i];
}

void gather_rows(const Matrix& from, std::span<const int32_t> rows, const Matrix& to) {
  for (size_t i = 0; i < rows.size(); ++i) std::memcpy(to.row(i), from.row(rows[i]), from.columns * sizeof(float));
}

}  // namespace qwin
