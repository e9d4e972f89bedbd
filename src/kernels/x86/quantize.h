// SPDX-License-Identifier: Apache-2.0
// Quantization of activations over a vector type: the same operations as kernels/reference/quantize_reference.cc, so
// the results are the same bits. Include after the ISA's vector type.
#pragma once

#include "kernels/cpu_kernels.h"

namespace qwin {
namespace {

constexpr int kSpanVectors = kSpan / Isa::kRows;

// Some of a span's 128 values.
struct SpanBits {
  uint64_t words[2] = {0, 0};
  int count() const { return __builtin_popcountll(words[0]) + __builtin_popcountll(words[1]); }
  void set(int vector, uint32_t bits) {
    words[vector * Isa::kRows / 64] |= uint64_t(bits) << (vector * Isa::kRows % 64);
  }
  uint32_t get(int vector) const {
    return uint32_t(words[vector * Isa::kRows / 64] >> (vector * Isa::kRows % 64)) & ((1u << Isa::kRows) - 1);
  }
};

// The magnitudes of a span and their largest two in each lane.
struct Magnitudes {
  explicit Magnitudes(const float* x) {
#pragma GCC unroll 16
    for (int i = 0; i < kSpanVectors; ++i) {
      values[i] = Isa::abs(Isa::load_float(x + i * Isa::kRows));
      second = Isa::max(second, Isa::min(first, values[i]));
      first = Isa::max(first, values[i]);
      // Zero times a value is zero only if the value is finite.
      products = Isa::fma(values[i], Isa::zero_float(), products);
    }
  }

  bool finite() const { return Isa::equal_bits(products, Isa::zero_float()) == (1u << Isa::kRows) - 1; }

  SpanBits above(float limit) const {
    SpanBits bits;
#pragma GCC unroll 16
    for (int i = 0; i < kSpanVectors; ++i) bits.set(i, Isa::greater_bits(values[i], Isa::set_float(limit)));
    return bits;
  }
  // The place of the first value of this magnitude.
  int find(float magnitude) const {
    SpanBits bits;
#pragma GCC unroll 16
    for (int i = 0; i < kSpanVectors; ++i) bits.set(i, Isa::equal_bits(values[i], Isa::set_float(magnitude)));
    return bits.words[0] != 0 ? __builtin_ctzll(bits.words[0]) : 64 + __builtin_ctzll(bits.words[1]);
  }
  float largest_but(const SpanBits& apart) const {
    Isa::Float lanes = Isa::zero_float();
    for (int i = 0; i < kSpanVectors; ++i)
      lanes = Isa::max(lanes, Isa::select_bits(~apart.get(i), values[i], Isa::zero_float()));
    return Isa::reduce_max(lanes);
  }

  Isa::Float values[kSpanVectors];
  Isa::Float first = Isa::zero_float(), second = Isa::zero_float(), products = Isa::zero_float();
};

// Adds what stands out of the rest, whose largest value is `max`, to `apart`; returns the largest that remains.
inline float take_extras(const Magnitudes& magnitudes, float max, SpanBits& apart) {
  for (int room = kMaxExtras, found = room; room > 0 && found > 0; room -= found) {
    found = 0;
    for (int count = room; count > 0 && found == 0; --count) {
      SpanBits above = magnitudes.above(max * kExtraSteps[count - 1]);
      above.words[0] &= ~apart.words[0];
      above.words[1] &= ~apart.words[1];
      if (above.count() > count || above.count() == 0) continue;
      found = above.count();
      apart.words[0] |= above.words[0];
      apart.words[1] |= above.words[1];
      max = magnitudes.largest_but(apart);
    }
  }
  return max;
}

// Where one span of one token goes.
struct SpanRow {
  SpanRow(const QuantizedRows& row, int span)
      : codes(row.codes + size_t(span) * row.token_stride * kSpan),
        sums(row.sums + size_t(span) * row.token_stride * 8),
        scale(row.scales + size_t(span) * row.token_stride),
        outlier(row.outliers + size_t(span) * row.token_stride),
        extra_count(row.extra_counts + size_t(span / kBlockSpans) * row.token_stride * kBlockSpans +
                    span % kBlockSpans),
        extras(row.extras + size_t(span) * row.token_stride * kMaxExtras) {}

  int8_t* codes;
  int16_t* sums;
  float* scale;
  Outlier* outlier;
  uint8_t* extra_count;
  Outlier* extras;
};

// The two 64-bit halves of each added up, in 16 bits. Requires: sums of at most 32767.
inline __m128i add_halves(const __m128i (&a)[8]) {
  const auto pairs = [](__m128i first, __m128i second, __m128i third, __m128i fourth) {
    const __m128i words = _mm_packs_epi32(_mm_packs_epi32(first, second), _mm_packs_epi32(third, fourth));
    return _mm_madd_epi16(words, _mm_set1_epi16(1));
  };
  return _mm_packs_epi32(pairs(a[0], a[1], a[2], a[3]), pairs(a[4], a[5], a[6], a[7]));
}

// Codes of all values that are not apart, and the largest sum of 16 magnitudes.
inline int set_codes(const float* x, const SpanBits& apart, const SpanRow& row) {
  const Isa::Float inverse = Isa::set_float(*row.scale > 0 ? 1.0f / *row.scale : 0.0f);
#pragma GCC unroll 16
  for (int i = 0; i < kSpanVectors; ++i) {
    const Isa::Float kept = Isa::select_bits(~apart.get(i), Isa::load_float(x + i * Isa::kRows), Isa::zero_float());
    Isa::store_s8(row.codes + i * Isa::kRows, Isa::clamp_s8(Isa::to_int(Isa::mul_float(kept, inverse))));
  }
  __m128i shifted[8], magnitudes[8];
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row.codes + g * 16));
    shifted[g] = _mm_sad_epu8(_mm_xor_si128(codes, _mm_set1_epi8(char(0x80))), _mm_setzero_si128());
    magnitudes[g] = _mm_sad_epu8(_mm_abs_epi8(codes), _mm_setzero_si128());
  }
  const __m128i sums = _mm_sub_epi16(add_halves(shifted), _mm_set1_epi16(16 * 128));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(row.sums), sums);
  const __m128i largest = _mm_minpos_epu16(_mm_xor_si128(add_halves(magnitudes), _mm_set1_epi16(-1)));
  return 0xffff - _mm_extract_epi16(largest, 0);
}

// A span with a value that is not finite: its scale carries the fault to the logits, where it is reported.
inline void mark_span(const SpanRow& row) {
  memset(row.codes, 0, kSpan);
  memset(row.sums, 0, 8 * sizeof(int16_t));
  *row.scale = __builtin_nanf("");
  *row.outlier = {0, 0};
  *row.extra_count = 0;
}

// What a span keeps apart.
struct Apart {
  SpanBits bits;
  int outlier;
  float rest;  // the largest magnitude of the others
};

inline Apart find_outliers(const Magnitudes& magnitudes) {
  Apart apart;
  const float max = Isa::reduce_max(magnitudes.first);
  apart.outlier = magnitudes.find(max);
  apart.bits.words[apart.outlier / 64] = uint64_t(1) << (apart.outlier % 64);
  // The largest of each lane without the outlier.
  const uint32_t lane = 1u << (apart.outlier % Isa::kRows);
  const Isa::Float lanes = Isa::select_bits(lane, magnitudes.second, magnitudes.first);
  apart.rest = Isa::reduce_max(lanes);
  // Nothing stands out if already this many are near the largest: the common case.
  const uint32_t near = Isa::greater_bits(lanes, Isa::set_float(apart.rest * kExtraSteps[0]));
  if (__builtin_popcount(near) <= kMaxExtras) apart.rest = take_extras(magnitudes, apart.rest, apart.bits);
  return apart;
}

inline void quantize_span(const float* x, const SpanRow& row) {
  const Magnitudes magnitudes(x);
  if (!magnitudes.finite()) return mark_span(row);
  const Apart apart = find_outliers(magnitudes);
  *row.outlier = {x[apart.outlier], uint32_t(apart.outlier)};
  Outlier* extra = row.extras;
  for (int word = 0; word < 2; ++word) {
    for (uint64_t bits = apart.bits.words[word]; bits != 0; bits &= bits - 1) {
      const int k = word * 64 + __builtin_ctzll(bits);
      if (k != apart.outlier) *extra++ = {x[k], uint32_t(k)};
    }
  }
  *row.extra_count = uint8_t(extra - row.extras);

  *row.scale = apart.rest / 127.0f > kMinScale ? apart.rest / 127.0f : 0.0f;
  const int sum = set_codes(x, apart.bits, row);
  if (sum <= kMaxCodeSum) return;
  *row.scale *= float(sum) / 1000.0f;
  set_codes(x, apart.bits, row);
}

void quantize_row(const float* x, size_t n, const QuantizedRows& row) {
  size_t begin = 0;
  for (; begin + kSpan <= n; begin += kSpan) quantize_span(x + begin, SpanRow(row, int(begin / kSpan)));
  if (begin == n) return;
  float padded[kSpan] = {};
  memcpy(padded, x + begin, (n - begin) * sizeof(float));
  quantize_span(padded, SpanRow(row, int(begin / kSpan)));
}

}  // namespace
}  // namespace qwin
