// SPDX-License-Identifier: Apache-2.0
// RMSNorm (arXiv 1910.07467), rotary embedding (arXiv 2104.09864, halves as in GPT-NeoX) and SwiGLU (arXiv 2002.05202).
#include <cmath>

#include "kernels/cpu_kernels.h"
#include "kernels/reference/exp_reference.h"

namespace qwin {

namespace {

void rms_norm_reference(const float* x, const float* weight, size_t n, float eps, float* out) {
  const size_t whole = n / 16 * 16;
  float lanes[16] = {};
  for (size_t i = 0; i < whole; ++i) lanes[i % 16] = std::fma(x[i], x[i], lanes[i % 16]);
  float sum = reduce_lanes(lanes);
  for (size_t i = whole; i < n; ++i) sum += x[i] * x[i];
  const float inverse = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

void rope_reference(float* head, const float* cos, const float* sin, size_t half) {
  for (size_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[half + i];
    head[i] = std::fma(-b, sin[i], a * cos[i]);
    head[half + i] = std::fma(a, sin[i], b * cos[i]);
  }
}

void silu_mul_reference(const float* gate, const float* up, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) {
    // exp(-g) for g < -87 is infinite in effect: bounding it keeps g / (1 + e) tiny instead of 0 / infinity.
    const float minus_gate = -(gate[i] > -87.0f ? gate[i] : -87.0f);
    out[i] = gate[i] / (1.0f + exp_reference(minus_gate)) * up[i];
  }
}

// Sixteen partial sums, so that the error stays that of a short sum and vector rungs come near.
void gemm_f32_reference(const GemmF32Args& args) {
  for (int r = 0; r < args.num_rows; ++r) {
    const float* w = args.w + static_cast<size_t>(r) * args.k;
    for (int t = 0; t < args.num_tokens; ++t) {
      const float* x = args.x + static_cast<size_t>(t) * args.x_stride;
      float partial[16] = {};
      for (size_t k = 0; k < args.k; ++k) partial[k % 16] += w[k] * x[k];
      float sum = 0;
      for (float p : partial) sum += p;
      const size_t at = static_cast<size_t>(t) * args.out_stride + static_cast<size_t>(r);
      if (args.bias != nullptr) sum += args.bias[r];
      if (args.residual != nullptr) sum += args.residual[at];
      args.out[at] = sum;
    }
  }
}

}  // namespace

void add_reference_elementwise(CpuKernels& kernels) {
  kernels.rms_norm = rms_norm_reference;
  kernels.rope = rope_reference;
  kernels.silu_mul = silu_mul_reference;
  kernels.gemm_f32 = gemm_f32_reference;
}

}  // namespace qwin
