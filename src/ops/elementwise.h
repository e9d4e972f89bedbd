// SPDX-License-Identifier: Apache-2.0
// Row-wise ops: RMSNorm and rotary embedding over a batch.
#pragma once

#include <span>

#include "core/matrix.h"
#include "ops/context.h"

namespace qwin {

// out[t] = rms_norm(x[t]) * weight, weight [columns]; out may be x.
void rms_norm(OpsContext& context, const Matrix& x, const float* weight, float eps, const Matrix& out);

// The same over every head of head_dim columns (Qwen3's QK norm), weight [head_dim], in place.
void rms_norm_heads(OpsContext& context, const Matrix& x, const float* weight, float eps, size_t head_dim);

// Rotates every head of x [num_tokens, heads * head_dim] by the token's row of cos and sin [num_tokens, head_dim / 2],
// in place.
void rope(OpsContext& context, const Matrix& x, const Matrix& cos, const Matrix& sin, size_t head_dim);

// x[t] *= factors[t], in place.
void scale_rows(const Matrix& x, std::span<const float> factors);

// to[t] = from[t]
void copy_rows(const Matrix& from, const Matrix& to);

// to[i] += from[i]
void add_row(const float* from, size_t columns, float* to);

// Rows of `from` in the order of `rows`.
void gather_rows(const Matrix& from, std::span<const int32_t> rows, const Matrix& to);

}  // namespace qwin
