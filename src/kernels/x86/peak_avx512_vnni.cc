// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/x86/peak_loops.h"

namespace qwin {
namespace {

struct Int8 {
  using Acc = __m512i;
  using Operand = __m512i;
  static constexpr bool kHoistable = false;
  static Acc zero() { return _mm512_setzero_si512(); }
  static Operand load(const void* p) { return _mm512_load_si512(p); }
  static Acc dot(Acc acc, Operand a, Operand b) { return _mm512_dpbusd_epi32(acc, a, b); }
  static double sum(Acc acc) { return _mm512_reduce_add_epi32(acc); }
};

}  // namespace

void add_avx512_vnni_peak(PeakKernels& kernels) { kernels.int8 = {"vpdpbusd zmm", 24 * 64, peak_loop<Int8, 24>}; }

}  // namespace qwin
