// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "kernels/x86/peak_loops.h"

namespace qwin {
namespace {

struct Int8 {
  using Acc = __m256i;
  using Operand = __m256i;
  static constexpr bool kHoistable = false;
  static Acc zero() { return _mm256_setzero_si256(); }
  static Operand load(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
  static Acc dot(Acc acc, Operand a, Operand b) { return _mm256_dpbusd_avx_epi32(acc, a, b); }
  static double sum(Acc acc) {
    int32_t lanes[8], sum = 0;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), acc);
    for (const int32_t lane : lanes) sum += lane;
    return sum;
  }
};

}  // namespace

void add_avx2_vnni_peak(PeakKernels& kernels) { kernels.int8 = {"vpdpbusd ymm", 12 * 32, peak_loop<Int8, 12>}; }

}  // namespace qwin
