// SPDX-License-Identifier: Apache-2.0
// Without VNNI a dot product of bytes is three instructions; bf16 would be widened for the float32 multiply-add.
#include <immintrin.h>

#include "kernels/x86/peak_loops.h"

namespace qwin {
namespace {

int32_t sum_int(__m256i v) {
  int32_t lanes[8], sum = 0;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), v);
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

struct Int8 {
  using Acc = __m256i;
  using Operand = __m256i;
  static constexpr bool kHoistable = true;
  static Acc zero() { return _mm256_setzero_si256(); }
  static Operand load(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
  static Acc dot(Acc acc, Operand a, Operand b) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
  }
  static double sum(Acc acc) { return sum_int(acc); }
};

struct Float {
  using Acc = __m256;
  using Operand = __m256;
  static constexpr bool kHoistable = false;
  static Acc zero() { return _mm256_setzero_ps(); }
  static Operand load(const void* p) {
    const __m256i pairs = _mm256_load_si256(static_cast<const __m256i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
  }
  static Acc dot(Acc acc, Operand a, Operand b) { return _mm256_fmadd_ps(a, b, acc); }
  static double sum(Acc acc) {
    float lanes[8];
    _mm256_storeu_ps(lanes, acc);
    double sum = 0;
    for (const float lane : lanes) sum += lane;
    return sum;
  }
};

struct Reader {
  using Vector = __m256i;
  static constexpr int kBytes = 32;
  static Vector zero() { return _mm256_setzero_si256(); }
  static Vector load(const std::byte* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store(uint64_t* p, Vector v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static Vector exclusive_or(Vector a, Vector b) { return _mm256_xor_si256(a, b); }
};

}  // namespace

void add_avx2_peak(PeakKernels& kernels) {
  kernels.int8 = {"vpmaddubsw ymm + vpmaddwd + vpaddd", 12 * 32, peak_loop<Int8, 12>};
  kernels.bf16 = {"vfmadd231ps ymm", 12 * 8, peak_loop<Float, 12>};
  kernels.read[0] = read_sweep<Reader, 0>;
  kernels.read[1] = read_sweep<Reader, 2048>;
}

}  // namespace qwin
