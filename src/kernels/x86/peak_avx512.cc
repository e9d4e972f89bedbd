// SPDX-License-Identifier: Apache-2.0
// As peak_avx2.cc, on 512 bits; memory is read as there.
#include <immintrin.h>

#include "kernels/x86/peak_loops.h"

namespace qwin {
namespace {

struct Int8 {
  using Acc = __m512i;
  using Operand = __m512i;
  static constexpr bool kHoistable = true;
  static Acc zero() { return _mm512_setzero_si512(); }
  static Operand load(const void* p) { return _mm512_load_si512(p); }
  static Acc dot(Acc acc, Operand a, Operand b) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1)));
  }
  static double sum(Acc acc) { return _mm512_reduce_add_epi32(acc); }
};

struct Float {
  using Acc = __m512;
  using Operand = __m512;
  static constexpr bool kHoistable = false;
  static Acc zero() { return _mm512_setzero_ps(); }
  static Operand load(const void* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_load_si512(p), 16)); }
  static Acc dot(Acc acc, Operand a, Operand b) { return _mm512_fmadd_ps(a, b, acc); }
  static double sum(Acc acc) { return _mm512_reduce_add_ps(acc); }
};

}  // namespace

void add_avx512_peak(PeakKernels& kernels) {
  kernels.int8 = {"vpmaddubsw zmm + vpmaddwd + vpaddd", 24 * 64, peak_loop<Int8, 24>};
  kernels.bf16 = {"vfmadd231ps zmm", 24 * 16, peak_loop<Float, 24>};
}

}  // namespace qwin
