// SPDX-License-Identifier: Apache-2.0
// Linear layers: activations are quantized once an input and then meet any number of weights in one sweep of the team.
#pragma once

#include <span>
#include <vector>

#include "core/buffer.h"
#include "core/matrix.h"
#include "ops/context.h"
#include "ops/packed_weight.h"

namespace qwin {

// The input of linear layers, in float32 and as integers. Reused from layer to layer; holds its buffers.
class LinearInput {
 public:
  // Requires: no later set() has more rows or columns.
  LinearInput(size_t max_tokens, size_t max_columns);

  // Takes x [num_tokens, columns], which must stay alive while this input is used, and quantizes it (not for float32).
  void set(OpsContext& context, const Matrix& x);

  // As set(), but what quantization left over follows as num_tokens more rows, so that x = row t + row num_tokens + t
  // to some 15 bits. For float32 the rows are x alone. Requires: max_tokens >= 2 * num_tokens.
  void set_with_remainder(OpsContext& context, const Matrix& x);

  // Makes room for [num_tokens, columns] that come span by span through quantize_span() (not for float32).
  void begin_spans(size_t num_tokens, size_t columns);
  // Quantizes x [count, columns of the span] as span `span` of the tokens from `first`.
  void quantize_span(OpsContext& context, const Matrix& x, size_t first, size_t span);

  const Matrix& values() const { return values_; }
  size_t num_spans() const { return num_spans_; }
  // As the kernels see them; of the tokens from `first` on.
  QuantizedRows rows(size_t first = 0) const;
  // Tokens that are worth a member's while.
  size_t token_grain() const;

 private:
  void begin(const Matrix& x);
  void quantize(OpsContext& context, size_t t);
  // left = x - what the codes of row t stand for.
  void subtract_codes(size_t t, const float* x, float* left) const;

  Matrix values_;  // without data after begin_spans()
  size_t max_tokens_ = 0, max_columns_ = 0;
  size_t num_spans_ = 0;
  size_t token_stride_ = 0;
  Buffer codes_, scales_, sums_, outliers_, extra_counts_, extras_;
  Buffer remainder_;  // set_with_remainder(): x and what is left of it, in float32
};

// One weight applied to the input: out = x * weight^T (+ bias) (+ residual).
struct LinearPart {
  const PackedWeight* weight;
  const float* bias = nullptr;      // [weight rows]
  const float* residual = nullptr;  // like out; may be out
  Matrix out;                       // [num_tokens, weight rows]
};

inline constexpr size_t kMaxLinearParts = 3;

// Group sums that a format needs besides the quantized rows; one a part.
class LinearScratch {
 public:
  LinearScratch(size_t max_tokens, size_t max_columns, size_t max_parts);

 private:
  friend class LinearSweep;
  std::vector<Buffer> zero_sums_, min_sums_;  // [max_parts], [num_spans, token_stride, groups]
};

// All parts share the input: q, k and v; or any single one. The tokens are the first out.rows of the input.
void linear(OpsContext& context, const LinearInput& input, LinearScratch& scratch, std::span<const LinearPart> parts);

// linear() without residuals for x [num_tokens, columns], with the remainder of its quantization: twice the dot
// products for the same weight traffic. Each out needs room for 2 * num_tokens rows; the first num_tokens are the
// result.
void linear_with_remainder(OpsContext& context, LinearInput& input, LinearScratch& scratch, const Matrix& x,
                           std::span<const LinearPart> parts);

// The input of down_proj = silu(x * gate^T) * (x * up^T), quantized as soon as a span of it is there. For float32 it is
// computed in `gate_out` and `up_out` [num_tokens, weight rows], which nothing else touches.
void gate_up(OpsContext& context, const LinearInput& input, LinearScratch& scratch, const PackedWeight& gate,
             const PackedWeight& up, const Matrix& gate_out, const Matrix& up_out, LinearInput& out);

}  // namespace qwin
