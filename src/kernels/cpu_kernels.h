// SPDX-License-Identifier: Apache-2.0
// The kernel table: pure compute on raw pointers. The plain C++ in kernels/reference is the specification, and every
// rung gives its bits: integers are exact, and float operations come in one order. (gemm_f32, the oracle's, is the
// exception.) A tolerance beside a kernel is its distance from exact arithmetic. Every kernel treats a token's row
// alone, so results never depend on the batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cpu_isa.h"
#include "kernels/attention_args.h"
#include "kernels/packed_layout.h"

namespace qwin {

// Rows of activations as integers: x = scale * code, one scale a token and span. One value of each span, the largest,
// may exceed 8 bits (Qwen2.5's massive activations would drown the other 127 otherwise): it is kept as 256 * high +
// low.
struct QuantizedRows {
  int8_t* codes;           // [num_tokens, code_stride] low digits, -128 … 127
  float* scales;           // [num_tokens, num_spans]
  int32_t* outliers;       // [num_tokens, num_spans] the high digit, in the byte of its place in its quad
  uint8_t* outlier_quads;  // [num_tokens, num_spans] which of the span's 32 quads
  int16_t* sums;           // [num_tokens, num_spans * 8] sums of 16 consecutive codes, high digits included
};

// y[t, n] = sum over k of w[n, k] * x[t, k], plus bias and residual, for whole tiles of 16 rows of w.
struct GemmArgs {
  const std::byte* weights;  // tiles, packed_layout.h
  size_t tile_bytes;
  int num_spans;
  int num_tokens;
  QuantizedRows x;
  size_t code_stride;  // bytes from one token's codes to the next
  const int32_t*
      zero_sums;  // [num_tokens, num_spans * groups] -zero * sum of the group's codes; flat_min: + the sum itself
  const int16_t*
      min_sums;       // [num_tokens, num_spans * groups] group sums, each four in the order 0, 2, 1, 3 (nested mins)
  const float* bias;  // [num_rows] or nullptr
  const float* residual;  // [num_tokens, out_stride] or nullptr; may be `out`
  float* out;             // [num_tokens, out_stride]
  size_t out_stride;
  int num_rows;  // rows that exist; the last tile may be partly empty
};
using GemmTilesFn = void (*)(const GemmArgs& args, size_t tile_begin, size_t tile_end);

// Quantizes one token's row of n floats; the span's missing tail counts as zeros. All pointers are those of this token.
using QuantizeRowFn = void (*)(const float* x, size_t n, const QuantizedRows& row);

// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]. Tolerance 1e-6 relative.
using RmsNormFn = void (*)(const float* x, const float* weight, size_t n, float eps, float* out);

// Rotates the two halves of one head: (a, b) -> (a cos - b sin, b cos + a sin). Tolerance 1e-6.
using RopeFn = void (*)(float* head, const float* cos, const float* sin, size_t half);

// out[i] = gate[i] * sigmoid(gate[i]) * up[i]; out may be gate. Tolerance 2e-6 relative.
using SiluMulFn = void (*)(const float* gate, const float* up, size_t n, float* out);

// out[t * out_stride + r] = dot(x[t], w[r]) (+ bias, + residual); w is [num_rows, k] float32. Tolerance 1e-6 relative
// to sum |x w|.
struct GemmF32Args {
  const float* w;
  const float* x;  // [num_tokens, x_stride]
  size_t x_stride;
  size_t k;
  int num_rows;
  int num_tokens;
  const float* bias;      // [num_rows] or nullptr
  const float* residual;  // like out, or nullptr
  float* out;
  size_t out_stride;
};
using GemmF32Fn = void (*)(const GemmF32Args& args);

struct CpuKernels {
  const char* name;  // "avx512_vnni"
  GemmTilesFn gemm_tiles[kNumPackedFormats];
  QuantizeRowFn quantize_row;
  RmsNormFn rms_norm;
  RopeFn rope;
  SiluMulFn silu_mul;
  GemmF32Fn gemm_f32;
  StoreKvFn store_kv[kNumKvTypes];
  AttentionFn attention[kNumKvTypes];
  MergePartialsFn merge_partials;
};

// The table of the highest rung at or below `max_isa`. A pure function, so tests can climb the ladder. Requires: the
// CPU runs it.
CpuKernels make_cpu_kernels(CpuIsa max_isa);

// Fill in what a rung adds; later rungs overwrite earlier ones.
void add_reference_kernels(CpuKernels& kernels);
void add_avx2_kernels(CpuKernels& kernels);
void add_avx2_vnni_kernels(CpuKernels& kernels);
void add_avx512_kernels(CpuKernels& kernels);
void add_avx512_vnni_kernels(CpuKernels& kernels);

}  // namespace qwin
