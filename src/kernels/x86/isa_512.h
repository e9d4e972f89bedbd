// SPDX-License-Identifier: Apache-2.0
// 512-bit vectors for the kernels written over a vector type. QWIN_ISA_VNNI chooses the dot-product instructions over
// their AVX512BW spelling.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/packed_layout.h"

namespace qwin {
namespace {

struct Isa {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kRows = 16;
  static constexpr int kMaxTokens = 8;

  static Int zero() { return _mm512_setzero_si512(); }
  static Float zero_float() { return _mm512_setzero_ps(); }
  static Int load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Int a) { _mm512_storeu_si512(p, a); }
  // Keeps a value in a register of its own: without it GCC copies or spills accumulators of loops that follow each
  // other.
  static void pin(Int& a) { asm volatile("" : "+v"(a)); }
  static void pin(Float& a) { asm volatile("" : "+v"(a)); }
  // Into the L2 cache: asking for it in L1 waits for that cache's few miss buffers (attention of q8 read 19 GB/s
  // instead of 24).
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
  static Int bytes(int v) { return _mm512_set1_epi8(char(v)); }
  static Int words(int v) { return _mm512_set1_epi16(short(v)); }
  static Int broadcast(const void* p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
  }
  static Int bit_and(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int merge(Int low, Int bits, Int mask) {
    return _mm512_ternarylogic_epi32(low, bits, mask, 0xf8);
  }  // low | (bits & mask)
  static Int shift_left(Int a, int n) { return _mm512_slli_epi16(a, unsigned(n)); }
  static Int shift_right(Int a, int n) { return _mm512_srli_epi16(a, unsigned(n)); }
  // Every lane by the same number, one that is only known at run time.
  static Int shift_right_lanes(Int a, const int32_t* n) { return _mm512_srlv_epi32(a, _mm512_set1_epi32(*n)); }
  static Int rotate_right_lanes(Int a, const int32_t* n) { return _mm512_rorv_epi32(a, _mm512_set1_epi32(*n)); }
  static Int shift_left32(Int a, int n) { return _mm512_slli_epi32(a, unsigned(n)); }
  static Int shift_right32(Int a, int n) { return _mm512_srai_epi32(a, unsigned(n)); }  // arithmetic
  static Int max_int(Int a, Int b) { return _mm512_max_epi32(a, b); }
  static Int set_int(int v) { return _mm512_set1_epi32(v); }
  static Float float_of_bits(Int a) { return _mm512_castsi512_ps(a); }
  static Int float_bits(Float a) { return _mm512_castps_si512(a); }
  static int reduce_max_int(Int a) { return _mm512_reduce_max_epi32(a); }
  static Int sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  static Int shuffle_bytes(Int a, Int places) { return _mm512_shuffle_epi8(a, places); }
  // The lower halves of all lanes of `low`, with those of `high` above them.
  static Int join_words(Int low, Int high) {
    return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
  }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int mul(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  static Int widen_s8(const void* p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
  static Int lookup(Int low) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kLut4))), low);
  }
#ifdef QWIN_ISA_VNNI
  static Int dot_u8(Int acc, Int codes, Int x) { return _mm512_dpbusd_epi32(acc, codes, x); }
  static Int dot_u6(Int acc, Int codes, Int x) { return _mm512_dpbusd_epi32(acc, codes, x); }
  static Int dot_16(Int acc, Int a, Int b) { return _mm512_dpwssd_epi32(acc, a, b); }
  // GCC 12 does not put the broadcast into the instruction by itself.
  static Int dot_broadcast(Int acc, Int codes, const void* x) {
    typedef int32_t __attribute__((may_alias)) Word;
    asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(codes), "m"(*static_cast<const Word*>(x)));
    return acc;
  }
#else
  static Int dot_16(Int acc, Int a, Int b) { return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)); }
  static Int dot_u8(Int acc, Int codes, Int x) {
    const Int even = _mm512_madd_epi16(_mm512_and_si512(codes, _mm512_set1_epi16(0xff)),
                                       _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8));
    const Int odd = _mm512_madd_epi16(_mm512_srli_epi16(codes, 8), _mm512_srai_epi16(x, 8));
    return _mm512_add_epi32(acc, _mm512_add_epi32(even, odd));
  }
  static Int dot_u6(Int acc, Int codes, Int x) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(codes, x), _mm512_set1_epi16(1)));
  }
#endif
  static Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float fms(Float a, Float b, Float c) { return _mm512_fmsub_ps(a, b, c); }
  static Float fnma(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a, b, c); }
  static Float mul_float(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float add_float(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub_float(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float broadcast_float(const float* p) { return _mm512_set1_ps(*p); }
  static Float load_float(const float* p) { return _mm512_loadu_ps(p); }
  static void store_float(float* p, Float a) { _mm512_storeu_ps(p, a); }
  static Float load_half(const void* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p))); }

  // Float work.
  static Float set_float(float v) { return _mm512_set1_ps(v); }
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float abs(Float a) { return _mm512_abs_ps(a); }
  static Float divide(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float round(Float a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Float scale_by_power(Float a, Float n) { return _mm512_scalef_ps(a, n); }  // a * 2^n
  static Float zero_below(Float x, Float limit, Float a) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), a);
  }
  static float reduce_max(Float a) { return _mm512_reduce_max_ps(a); }
  // Four sums of every fourth lane, of each row side by side.
  static Int fold_rows(const Int (&rows)[4]) {
    const auto fold = [](Int a, Int b) {
      return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
    };
    return fold(fold(rows[0], rows[1]), fold(rows[2], rows[3]));
  }
  // The n-th four lanes.
  static __m128 quarter(Float a, int n) {
    switch (n) {
      case 0: return _mm512_castps512_ps128(a);
      case 1: return _mm512_extractf32x4_ps(a, 1);
      case 2: return _mm512_extractf32x4_ps(a, 2);
      default: return _mm512_extractf32x4_ps(a, 3);
    }
  }
  static Float repeat_quarter(const float* p) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
  static float reduce_add(Float a) { return _mm512_reduce_add_ps(a); }
  static int reduce_add_int(Int a) { return _mm512_reduce_add_epi32(a); }
  static Int to_int(Float a) { return _mm512_cvtps_epi32(a); }
  static Int clamp_s8(Int a) {
    return _mm512_max_epi32(_mm512_min_epi32(a, _mm512_set1_epi32(127)), _mm512_set1_epi32(-127));
  }
  static void store_s8(int8_t* p, Int a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a)); }
  // The low byte of every lane. Requires: lanes fit a byte, signed for s8 and unsigned for u8.
  static void store_u8(uint8_t* p, Int a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a)); }
  // Lanes whose bit is set keep their value, the others become `other`.
  static Float select_bits(uint32_t bits, Float a, Float other) {
    return _mm512_mask_mov_ps(other, __mmask16(bits), a);
  }
  static uint32_t greater_bits(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  static uint32_t equal_bits(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  // Writes first + i for each bit i that is set, and then anything: p has kRows places. Returns how many bits are set.
  static int store_places(int32_t* p, int first, uint32_t bits) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i places = _mm512_add_epi32(lanes, _mm512_set1_epi32(first));
    _mm512_storeu_si512(p, _mm512_maskz_compress_epi32(__mmask16(bits), places));
    return __builtin_popcount(bits);
  }
  static Float load_partial(const float* p, size_t n) { return _mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p); }
  static void store_half(uint16_t* p, Float a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};

}  // namespace
}  // namespace qwin
