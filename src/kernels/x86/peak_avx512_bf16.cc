// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/x86/peak_loops.h"

namespace qwin {
namespace {

struct Bf16 {
  using Acc = __m512;
  using Operand = __m512i;
  static constexpr bool kHoistable = false;
  static Acc zero() { return _mm512_setzero_ps(); }
  static Operand load(const void* p) { return _mm512_load_si512(p); }
  static Acc dot(Acc acc, Operand a, Operand b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }
  static double sum(Acc acc) { return _mm512_reduce_add_ps(acc); }
};

}  // namespace

void add_avx512_bf16_peak(PeakKernels& kernels) { kernels.bf16 = {"vdpbf16ps zmm", 24 * 32, peak_loop<Bf16, 24>}; }

}  // namespace qwin
