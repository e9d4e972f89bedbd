// SPDX-License-Identifier: Apache-2.0
// 256-bit vectors for the kernels written over a vector type. QWIN_ISA_VNNI chooses AVX-VNNI's dot products over their
// AVX2 spelling.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/packed_layout.h"

namespace qwin {
namespace {

struct Isa {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kRows = 8;
  static constexpr int kMaxTokens = 4;  // 12 accumulators of 16 registers

  static Int zero() { return _mm256_setzero_si256(); }
  static Float zero_float() { return _mm256_setzero_ps(); }
  static Int load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, Int a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
  // Keeps a value in a register of its own: without it GCC copies or spills accumulators of loops that follow each
  // other.
  static void pin(Int& a) { asm volatile("" : "+x"(a)); }
  static void pin(Float& a) { asm volatile("" : "+x"(a)); }
  // Into the L2 cache: asking for it in L1 waits for that cache's few miss buffers (attention of q8 read 19 GB/s
  // instead of 24).
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
  static Int bytes(int v) { return _mm256_set1_epi8(char(v)); }
  static Int words(int v) { return _mm256_set1_epi16(short(v)); }
  static Int broadcast(const void* p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
  }
  static Int bit_and(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int merge(Int low, Int bits, Int mask) { return _mm256_or_si256(low, _mm256_and_si256(bits, mask)); }
  static Int shift_left(Int a, int n) { return _mm256_slli_epi16(a, n); }
  static Int shift_right(Int a, int n) { return _mm256_srli_epi16(a, n); }
  // Every lane by the same number, one that is only known at run time.
  static Int shift_right_lanes(Int a, const int32_t* n) { return _mm256_srlv_epi32(a, _mm256_set1_epi32(*n)); }
  static Int rotate_right_lanes(Int a, const int32_t* n) {
    const Int left = _mm256_sllv_epi32(a, _mm256_set1_epi32(32 - *n));
    return _mm256_or_si256(_mm256_srlv_epi32(a, _mm256_set1_epi32(*n)), left);
  }
  static Int shift_left32(Int a, int n) { return _mm256_slli_epi32(a, n); }
  static Int shift_right32(Int a, int n) { return _mm256_srai_epi32(a, n); }  // arithmetic
  static Int max_int(Int a, Int b) { return _mm256_max_epi32(a, b); }
  static Int set_int(int v) { return _mm256_set1_epi32(v); }
  static Float float_of_bits(Int a) { return _mm256_castsi256_ps(a); }
  static Int float_bits(Float a) { return _mm256_castps_si256(a); }
  static int reduce_max_int(Int a) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
  }
  static Int sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  static Int shuffle_bytes(Int a, Int places) { return _mm256_shuffle_epi8(a, places); }
  // The lower halves of all lanes of `low`, with those of `high` above them.
  static Int join_words(Int low, Int high) { return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa); }
  static Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int mul(Int a, Int b) { return _mm256_mullo_epi32(a, b); }
  static Int widen_s8(const void* p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))); }
  static Int lookup(Int low) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kLut4))),
                               low);
  }
#ifdef QWIN_ISA_VNNI
  static Int dot_u8(Int acc, Int codes, Int x) { return _mm256_dpbusd_avx_epi32(acc, codes, x); }
  static Int dot_u6(Int acc, Int codes, Int x) { return _mm256_dpbusd_avx_epi32(acc, codes, x); }
  static Int dot_16(Int acc, Int a, Int b) { return _mm256_dpwssd_avx_epi32(acc, a, b); }
#else
  static Int dot_16(Int acc, Int a, Int b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
  static Int dot_u8(Int acc, Int codes, Int x) {
    const Int even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0xff)),
                                       _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
    const Int odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(x, 8));
    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
  }
  static Int dot_u6(Int acc, Int codes, Int x) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), _mm256_set1_epi16(1)));
  }
#endif
  static Float to_float(Int a) { return _mm256_cvtepi32_ps(a); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float fms(Float a, Float b, Float c) { return _mm256_fmsub_ps(a, b, c); }
  static Float fnma(Float a, Float b, Float c) { return _mm256_fnmadd_ps(a, b, c); }
  static Float mul_float(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float add_float(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float sub_float(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float broadcast_float(const float* p) { return _mm256_set1_ps(*p); }
  static Float load_float(const float* p) { return _mm256_loadu_ps(p); }
  static void store_float(float* p, Float a) { _mm256_storeu_ps(p, a); }
  static Float load_half(const void* p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }

  // Float work.
  static Float set_float(float v) { return _mm256_set1_ps(v); }
  static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
  static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
  static Float abs(Float a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static Float divide(Float a, Float b) { return _mm256_div_ps(a, b); }
  static Float round(Float a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Float scale_by_power(Float a, Float n) {  // a * 2^n, for n of normal exponents
    const Int exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(exponent));
  }
  static Float zero_below(Float x, Float limit, Float a) {
    return _mm256_and_ps(_mm256_cmp_ps(x, limit, _CMP_GE_OQ), a);
  }
  static float reduce_max(Float a) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
  }
  // Four sums of every fourth lane, of each row side by side.
  static Int fold_rows(const Int (&rows)[2]) {
    return _mm256_add_epi32(_mm256_permute2x128_si256(rows[0], rows[1], 0x20),
                            _mm256_permute2x128_si256(rows[0], rows[1], 0x31));
  }
  // The n-th four lanes.
  static __m128 quarter(Float a, int n) { return n == 0 ? _mm256_castps256_ps128(a) : _mm256_extractf128_ps(a, 1); }
  static Float repeat_quarter(const float* p) { return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); }
  static float reduce_add(Float a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static int reduce_add_int(Int a) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
  }
  static Int to_int(Float a) { return _mm256_cvtps_epi32(a); }
  static Int clamp_s8(Int a) {
    return _mm256_max_epi32(_mm256_min_epi32(a, _mm256_set1_epi32(127)), _mm256_set1_epi32(-127));
  }
  static void store_s8(int8_t* p, Int a) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }
  // The low byte of every lane. Requires: lanes fit a byte, signed for s8 and unsigned for u8.
  static void store_u8(uint8_t* p, Int a) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  // Lanes whose bit is set keep their value, the others become `other`.
  static Float select_bits(uint32_t bits, Float a, Float other) {
    const Int lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const Int set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int(bits)), lane), lane);
    return _mm256_blendv_ps(other, a, _mm256_castsi256_ps(set));
  }
  static uint32_t greater_bits(Float a, Float b) {
    return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
  }
  static uint32_t equal_bits(Float a, Float b) { return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ))); }
  // Writes first + i for each bit i that is set; returns how many.
  static int store_places(int32_t* p, int first, uint32_t bits) {
    int count = 0;
    for (; bits != 0; bits &= bits - 1) p[count++] = first + __builtin_ctz(bits);
    return count;
  }
  static Float load_partial(const float* p, size_t n) {
    float values[8] = {};
    memcpy(values, p, n * sizeof(float));
    return _mm256_loadu_ps(values);
  }
  static void store_half(uint16_t* p, Float a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};

}  // namespace
}  // namespace qwin
