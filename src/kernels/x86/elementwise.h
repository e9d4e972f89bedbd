// SPDX-License-Identifier: Apache-2.0
// Row kernels over a vector type: quantization of activations, RMSNorm, rotary embedding, SwiGLU, float32 GEMM.
// Include after the ISA's vector type.
#pragma once

#include "kernels/cpu_kernels.h"
#include "kernels/x86/float_order.h"

namespace qwin {
namespace {

constexpr int kLanes = Isa::kRows;
constexpr uint32_t kAllLanes = (1u << kLanes) - 1;

// A span with a value that is not finite, as in the reference.
inline void mark_span(int span, const QuantizedRows& row) {
  memset(row.codes + span * kSpan, 0, kSpan);
  memset(row.sums + span * 8, 0, 8 * sizeof(int16_t));
  row.scales[span] = __builtin_nanf("");
  row.outliers[span] = 0;
  row.outlier_quads[span] = 0;
}

// The same operations in the same order as kernels/reference/quantize_reference.cc, so the results are the same bits.
inline void quantize_span(const float* x, int span, const QuantizedRows& row) {
  constexpr int kVectors = kSpan / kLanes;
  Isa::Float max_lanes = Isa::zero_float();
  for (int i = 0; i < kVectors; ++i) max_lanes = Isa::max(max_lanes, Isa::abs(Isa::load_float(x + i * kLanes)));
  const float max = Isa::reduce_max(max_lanes);
  int largest = -1;
  uint32_t finite = kAllLanes;
  Isa::Float second_lanes = Isa::zero_float();
  for (int i = 0; i < kVectors; ++i) {
    const Isa::Float a = Isa::abs(Isa::load_float(x + i * kLanes));
    // Zero times a value is zero only if the value is finite.
    finite &= Isa::equal_bits(Isa::mul_float(a, Isa::zero_float()), Isa::zero_float());
    uint32_t others = ~0u;
    if (largest < 0) {
      const uint32_t hits = Isa::equal_bits(a, Isa::set_float(max));
      if (hits != 0) {
        const int lane = __builtin_ctz(hits);
        largest = i * kLanes + lane;
        others = ~(1u << lane);
      }
    }
    second_lanes = Isa::max(second_lanes, Isa::select_bits(others, a, Isa::zero_float()));
  }
  if (finite != kAllLanes) return mark_span(span, row);
  const float by_second = Isa::reduce_max(second_lanes) / 127.0f, by_max = max / 28672.0f;
  float scale = by_second < by_max ? by_max : by_second;
  if (!(scale > 1e-30f)) scale = 0;
  const float inverse = scale > 0 ? 1.0f / scale : 0.0f;

  int8_t* codes = row.codes + span * kSpan;
  int16_t* sums = row.sums + span * 8;
  for (int i = 0; i < 8; ++i) sums[i] = 0;
  for (int i = 0; i < kVectors; ++i) {
    const Isa::Int q =
        Isa::clamp_s8(Isa::to_int(Isa::mul_float(Isa::load_float(x + i * kLanes), Isa::set_float(inverse))));
    Isa::store_s8(codes + i * kLanes, q);
    sums[i * kLanes / 16] = int16_t(sums[i * kLanes / 16] + Isa::reduce_add_int(q));
  }
  const float exact = x[largest] * inverse;
  const float bounded = exact > 28672.0f ? 28672.0f : exact < -28672.0f ? -28672.0f : exact;
  const int value = _mm_cvtss_si32(_mm_set_ss(bounded));  // rounds to nearest even
  const int high = (value + 128) >> 8;
  sums[largest / 16] = int16_t(sums[largest / 16] + value - codes[largest]);
  codes[largest] = int8_t(value - 256 * high);
  row.scales[span] = scale;
  row.outliers[span] = int32_t(uint32_t(high & 0xff) << (8 * (largest % 4)));
  row.outlier_quads[span] = uint8_t(largest / 4);
}

void quantize_row(const float* x, size_t n, const QuantizedRows& row) {
  size_t begin = 0;
  for (; begin + kSpan <= n; begin += kSpan) quantize_span(x + begin, int(begin / kSpan), row);
  if (begin == n) return;
  float padded[kSpan] = {};
  memcpy(padded, x + begin, (n - begin) * sizeof(float));
  quantize_span(padded, int(begin / kSpan), row);
}

void rms_norm(const float* x, const float* weight, size_t n, float eps, float* out) {
  const size_t whole = n / 16 * 16;
  Isa::Float lanes[kLaneParts];
  for (auto& part : lanes) part = Isa::zero_float();
  for (size_t i = 0; i < whole; i += 16) {
    for (int part = 0; part < kLaneParts; ++part) {
      const Isa::Float u = Isa::load_float(x + i + part * kLanes);
      lanes[part] = Isa::fma(u, u, lanes[part]);
    }
  }
  float sum = reduce_lanes(lanes);
  for (size_t i = whole; i < n; ++i) sum += x[i] * x[i];
  const float inverse = 1.0f / __builtin_sqrtf(sum / float(n) + eps);
  for (size_t i = 0; i < whole; i += kLanes) {
    Isa::store_float(out + i, Isa::mul_float(Isa::mul_float(Isa::load_float(x + i), Isa::set_float(inverse)),
                                             Isa::load_float(weight + i)));
  }
  for (size_t i = whole; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

void rope(float* head, const float* cos, const float* sin, size_t half) {
  size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Isa::Float a = Isa::load_float(head + i), b = Isa::load_float(head + half + i);
    const Isa::Float c = Isa::load_float(cos + i), s = Isa::load_float(sin + i);
    Isa::store_float(head + i, Isa::fnma(b, s, Isa::mul_float(a, c)));
    Isa::store_float(head + half + i, Isa::fma(a, s, Isa::mul_float(b, c)));
  }
  for (; i < half; ++i) {
    const float a = head[i], b = head[half + i];
    head[i] = __builtin_fmaf(-b, sin[i], a * cos[i]);
    head[half + i] = __builtin_fmaf(a, sin[i], b * cos[i]);
  }
}

inline Isa::Float silu(Isa::Float g) {
  // exp(-g) for g < -87 is infinite in effect: bounding it keeps g / (1 + e) tiny instead of 0 / infinity.
  const Isa::Float minus_g = Isa::mul_float(Isa::max(g, Isa::set_float(-87.0f)), Isa::set_float(-1.0f));
  return Isa::divide(g, Isa::add_float(Isa::set_float(1.0f), exp_vector(minus_g)));
}

void silu_mul(const float* gate, const float* up, size_t n, float* out) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Isa::store_float(out + i, Isa::mul_float(silu(Isa::load_float(gate + i)), Isa::load_float(up + i)));
  }
  if (i == n) return;
  float values[kLanes];
  Isa::store_float(values, Isa::mul_float(silu(Isa::load_partial(gate + i, n - i)), Isa::load_partial(up + i, n - i)));
  memcpy(out + i, values, (n - i) * sizeof(float));
}

// R rows by T tokens of dot products; each is summed in the same order whatever R and T are.
template <int R, int T>
inline void dot_block(const GemmF32Args& args, int row, int token) {
  const float* w = args.w + size_t(row) * args.k;
  const float* x = args.x + size_t(token) * args.x_stride;
  Isa::Float acc[R][T];
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) acc[r][t] = Isa::zero_float();
  }
  size_t k = 0;
  for (; k + kLanes <= args.k; k += kLanes) {
    Isa::Float xs[T];
    for (int t = 0; t < T; ++t) xs[t] = Isa::load_float(x + t * args.x_stride + k);
    for (int r = 0; r < R; ++r) {
      const Isa::Float ws = Isa::load_float(w + r * args.k + k);
      for (int t = 0; t < T; ++t) acc[r][t] = Isa::fma(ws, xs[t], acc[r][t]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      if (k < args.k) {
        const size_t left = args.k - k;
        acc[r][t] = Isa::fma(Isa::load_partial(w + r * args.k + k, left),
                             Isa::load_partial(x + t * args.x_stride + k, left), acc[r][t]);
      }
      const size_t at = size_t(token + t) * args.out_stride + size_t(row + r);
      float sum = Isa::reduce_add(acc[r][t]);
      if (args.bias != nullptr) sum += args.bias[row + r];
      if (args.residual != nullptr) sum += args.residual[at];
      args.out[at] = sum;
    }
  }
}

void gemm_f32(const GemmF32Args& args) {
  constexpr int kR = kLanes == 16 ? 4 : 2, kT = 4;
  int token = 0;
  for (; token + kT <= args.num_tokens; token += kT) {
    int row = 0;
    for (; row + kR <= args.num_rows; row += kR) dot_block<kR, kT>(args, row, token);
    for (; row < args.num_rows; ++row) dot_block<1, kT>(args, row, token);
  }
  for (; token < args.num_tokens; ++token) {
    int row = 0;
    for (; row + kR <= args.num_rows; row += kR) dot_block<kR, 1>(args, row, token);
    for (; row < args.num_rows; ++row) dot_block<1, 1>(args, row, token);
  }
}

void fill_elementwise(CpuKernels& kernels) {
  kernels.quantize_row = quantize_row;
  kernels.rms_norm = rms_norm;
  kernels.rope = rope;
  kernels.silu_mul = silu_mul;
  kernels.gemm_f32 = gemm_f32;
}

}  // namespace
}  // namespace qwin
