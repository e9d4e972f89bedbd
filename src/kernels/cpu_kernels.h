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

// A value kept out of its span's codes: x[column] = value, and the code there is 0.
struct Outlier {
  float value;
  uint32_t column;  // 0 … 127, within the span
};
inline constexpr int kMaxExtras = 3;  // outliers of a span beyond its largest value
// Up to n values stand out of the rest of a span when all others are at most the largest times kExtraSteps[n - 1].
// (static: files of several instruction sets read it, and none may hand its copy to the others)
static constexpr float kExtraSteps[kMaxExtras] = {0.4f, 0.16f, 0.064f};
inline constexpr float kMinScale = 1e-30f;  // below this the reciprocal would be infinite; such a span is zero
// Magnitudes of 16 consecutive codes add up to no more than this, so that group sums of 4- and 6-bit weights fit 16
// bits.
inline constexpr int kMaxCodeSum = 1023;
inline constexpr int kBlockSpans = 4;  // spans whose extra outliers are added together, after their integers

// Rows of activations as integers: x = scale * code, one scale a token and span. The largest value of each span stays
// as it is, and up to three more that stand out of the rest: Qwen2.5's massive activations would drown the others.
// Spans come first, so that the tokens of a register tile lie side by side.
struct QuantizedRows {
  int8_t* codes;          // [num_spans, token_stride, 128] -127 … 127
  float* scales;          // [num_spans, token_stride]
  int16_t* sums;          // [num_spans, token_stride, 8] sums of 16 consecutive codes
  Outlier* outliers;      // [num_spans, token_stride] the largest value
  uint8_t* extra_counts;  // [ceil(num_spans / 4), token_stride, 4] 0 … 3 for each span of a block
  Outlier* extras;        // [num_spans, token_stride, 3] in order of column; the first extra_counts are set
  size_t token_stride;    // tokens from one span to the next
};

// y[t, n] = sum over k of w[n, k] * x[t, k], plus bias and residual, for whole tiles of 16 rows of w.
struct GemmArgs {
  const std::byte* weights;  // tiles, packed_layout.h
  size_t tile_bytes;
  int num_spans;
  int num_tokens;
  QuantizedRows x;
  const int32_t* zero_sums;  // [num_spans, token_stride, groups] -zero * sum of the group's codes; flat_min: the sum
  const int16_t*
      min_sums;       // nested minima: [num_spans, token_stride, groups] group sums, each four in the order 0, 2, 1, 3
  const float* bias;  // [num_rows] or nullptr
  const float* residual;  // [num_tokens, out_stride] or nullptr; may be `out`
  float* out;             // [num_tokens, out_stride]
  size_t out_stride;
  int num_rows;    // rows that exist; the last tile may be partly empty
  float* scratch;  // [gemm_scratch_floats(num_tokens)]
};
using GemmTilesFn = void (*)(const GemmArgs& args, size_t tile_begin, size_t tile_end);

inline constexpr int kPanelTiles = 8;  // tiles that pass together over the tokens of a panel
inline constexpr size_t gemm_scratch_floats(size_t num_tokens) { return kPanelTiles * kTileRows * num_tokens; }

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
  BoundKeysFn bound_keys[kNumKvTypes];  // the same on every rung
  ChooseMemoryFn choose_memory;
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
void add_amx_kernels(CpuKernels& kernels);

}  // namespace qwin
