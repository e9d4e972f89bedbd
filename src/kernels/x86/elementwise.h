// SPDX-License-Identifier: Apache-2.0
// Row kernels over a vector type: RMSNorm, rotary embedding, SwiGLU, float32 GEMM.
// Include after the ISA's vector type.
#pragma once

#include "kernels/cpu_kernels.h"
#include "kernels/x86/float_order.h"
#include "kernels/x86/quantize.h"

namespace qwin {
namespace {

constexpr int kLanes = Isa::kRows;

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
