// SPDX-License-Identifier: Apache-2.0
// The inner loop of the integer GEMM: one span of Isa::kRows rows meets T tokens. Same integers and same order of float
// operations as kernels/reference/gemm_reference.cc.
//
// T = 8 in 512 bits: 8 group sums, 8 span sums and 8 results of 32 registers; the group sums are 8 independent chains
// of dot products, enough for a latency of 4-5 cycles at one a cycle. Activations come as broadcasts from memory.
#pragma once

#include "kernels/x86/gemm_sources.h"

namespace qwin {
namespace {

// acc + codes · the four activations at x, in every lane.
template <CodeKind kKind>
inline Int dot(Int acc, Int codes, const int8_t* x) {
#ifdef QWIN_ISA_EMBEDDED_BROADCAST
  return Isa::dot_broadcast(acc, codes, x);
#else
  // 8-bit codes times 8-bit activations overflow the 16 bits of `maddubs` in pairs; up to 6 bits they cannot.
  if constexpr (kKind == CodeKind::u8 || kKind == CodeKind::lut4) return Isa::dot_u8(acc, codes, Isa::broadcast(x));
  return Isa::dot_u6(acc, codes, Isa::broadcast(x));
#endif
}

template <PackedFormat kFormat, int T>
struct SpanKernel {
  static constexpr PackedLayout kLayout = packed_layout(kFormat);
  static constexpr int kGroups = kLayout.groups_per_span();
  static constexpr int kQuads = kLayout.group() / 4;
  static constexpr int kParts = kGroups < 4 ? 1 : kGroups / 4;  // groups in 32 columns

  const GemmArgs& args;
  int token;  // the first of T

  size_t at(int span) const { return size_t(span) * args.x.token_stride + size_t(token); }

  // Adds span `span` and its outlier to acc[T].
  template <typename Source>
  inline void add(const Source& source, int span, Float (&acc)[T]) const {
    const Outlier* outliers = args.x.outliers + at(span);
    if constexpr (Source::kUnpacksInRegisters && T >= 6) {
      // Finding a column among packed codes takes a dozen instructions that multiply nothing: after each group some of
      // them, between the dot products, instead of all at the end (Zen 4: 6-9 % of Q6_K and Q5_0).
      alignas(64) float columns[T][Isa::kRows];
      add_sums(
          source, span,
          [&](int g, Int(&sums)[T]) __attribute__((always_inline)) {
            sum_group(source, span, g, sums);
            for (int t = g * T / kGroups; t < (g + 1) * T / kGroups; ++t)
              Isa::store_float(columns[t], float_column(source, outliers[t].column));
          },
          acc);
      for (int t = 0; t < T; ++t)
        acc[t] = Isa::fma(Isa::load_float(columns[t]), Isa::broadcast_float(&outliers[t].value), acc[t]);
    } else {
      add_sums(
          source, span, [&](int g, Int(&sums)[T]) __attribute__((always_inline)) { sum_group(source, span, g, sums); },
          acc);
      add_outliers(source, span, acc);
    }
  }

  // Adds a span without its outlier; group_sums(g, sums) says what the codes of group g come to, less its zeros.
  template <typename Source, typename GroupSums>
  inline void add_sums(const Source& source, int span, const GroupSums& group_sums, Float (&acc)[T]) const {
    if constexpr (kLayout.scale == ScaleKind::span) {
      add_whole(source, span, group_sums, acc);
    } else if constexpr (kLayout.nested()) {
      add_nested(source, span, group_sums, acc);
    } else {
      add_flat(source, span, group_sums, acc);
    }
  }

  // Adds a nested span whose products are summed up with their sub-scales.
  template <typename Source>
  inline void add_scaled(const Source& source, int span, const Int (&total)[T], Float (&acc)[T]) const {
    const Float scale = source.super_scale();
    Float sum[T];
    for (int t = 0; t < T; ++t) sum[t] = Isa::mul_float(Isa::to_float(total[t]), scale);
    if constexpr (kLayout.has_min()) subtract_mins(source, span, sum);
    for (int t = 0; t < T; ++t) acc[t] = Isa::fma(sum[t], Isa::broadcast_float(args.x.scales + at(span) + t), acc[t]);
  }

  template <typename Source>
  inline void add_outliers(const Source& source, int span, Float (&acc)[T]) const {
    const Outlier* outliers = args.x.outliers + at(span);
    for (int t = 0; t < T; ++t) acc[t] = add_outlier(source, outliers + t, acc[t]);
  }

  // Adds the extra outliers of `count` spans from `first`, a multiple of 4; source(i) is span first + i.
  template <typename Sources>
  inline void add_extras(const Sources& source, int first, int count, Float (&acc)[T]) const {
    const uint8_t* counts = args.x.extra_counts + at(first / kBlockSpans) * kBlockSpans;
    const uint32_t existing = count == kBlockSpans ? ~0u : (1u << (8 * count)) - 1;
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      uint32_t left;
      __builtin_memcpy(&left, counts + t * kBlockSpans, 4);
      left &= existing;
      for (int i = 0; __builtin_expect(left != 0, 0); ++i, left >>= 8) {
        const Outlier* extras = args.x.extras + (at(first + i) + size_t(t)) * kMaxExtras;
        for (const Outlier* o = extras; o < extras + (left & 0xff); ++o) acc[t] = add_outlier(source(i), o, acc[t]);
      }
    }
  }

 private:
  template <typename Source>
  inline void sum_group(const Source& source, int span, int g, Int (&sums)[T]) const {
    const int32_t* zeros = args.zero_sums + at(span) * kGroups + g;  // zero times the codes of the activations
    for (int t = 0; t < T; ++t) sums[t] = kLayout.zero != 0 ? Isa::broadcast(zeros + t * kGroups) : Isa::zero();
    add_group(source, span, g / kParts, g % kParts, sums);
  }

  // The columns of a group: 32, or the lower or upper 16 of them.
  template <typename Source>
  inline void add_group(const Source& source, int span, int group32, int part, Int (&sums)[T]) const {
    const int8_t* x = args.x.codes + at(span) * kSpan + group32 * 32 + part * 16;
#pragma GCC unroll 8
    for (int q = 0; q < kQuads; ++q) {
      const Int w = source.quad(group32, part * 4 + q);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) sums[t] = dot<kLayout.code>(sums[t], w, x + t * kSpan + 4 * q);
    }
  }

  // One scale for all columns: no more than a single sum.
  template <typename Source, typename GroupSums>
  inline void add_whole(const Source& source, int span, const GroupSums& group_sums, Float (&acc)[T]) const {
    Int sums[T];
    group_sums(0, sums);
    const Float scale = source.super_scale();
    for (int t = 0; t < T; ++t)
      acc[t] = Isa::fma(Isa::mul_float(Isa::to_float(sums[t]), scale),
                        Isa::broadcast_float(args.x.scales + at(span) + t), acc[t]);
  }

  template <typename Source, typename GroupSums>
  inline void add_flat(const Source& source, int span, const GroupSums& group_sums, Float (&acc)[T]) const {
    Float total[T];
    for (int t = 0; t < T; ++t) total[t] = Isa::zero_float();
#pragma GCC unroll 1
    for (int g = 0; g < 4; ++g) {
      Int sums[T];
      group_sums(g, sums);
      const Float scale = source.scale(g);
      for (int t = 0; t < T; ++t) total[t] = Isa::fma(Isa::to_float(sums[t]), scale, total[t]);
      if constexpr (kLayout.has_min()) {
        const Float min = source.min(g);
        const int32_t* code_sums = args.zero_sums + at(span) * 4 + g;
        for (int t = 0; t < T; ++t)
          total[t] = Isa::fnma(Isa::to_float(Isa::broadcast(code_sums + t * 4)), min, total[t]);
      }
    }
    for (int t = 0; t < T; ++t) acc[t] = Isa::fma(total[t], Isa::broadcast_float(args.x.scales + at(span) + t), acc[t]);
  }

  // Group sums that fit 16 bits, two a lane: those of group 2i below, of group 2i + 1 above.
  template <typename GroupSums>
  inline void pair_sums(const GroupSums& group_sums, int pair, Int (&sums)[T]) const {
    Int high[T];
    group_sums(2 * pair, sums);
    group_sums(2 * pair + 1, high);
    for (int t = 0; t < T; ++t) sums[t] = Isa::join_words(sums[t], high[t]);
  }

  template <typename Source, typename GroupSums>
  inline void add_nested(const Source& source, int span, const GroupSums& group_sums, Float (&acc)[T]) const {
    Int total[T];
    for (int t = 0; t < T; ++t) total[t] = Isa::zero();
    if constexpr (sums_fit_16_bits<kFormat>()) {
#pragma GCC unroll 1
      for (int pair = 0; pair < kGroups / 2; ++pair) {
        Int sums[T];
        pair_sums(group_sums, pair, sums);
        const Int scales = source.sub_scale_pair(pair);
        for (int t = 0; t < T; ++t) total[t] = Isa::dot_16(total[t], scales, sums[t]);
      }
    } else {
#pragma GCC unroll 1
      for (int g = 0; g < kGroups; ++g) {
        Int sums[T];
        group_sums(g, sums);
        const Int scale = source.sub_scale(g);
        for (int t = 0; t < T; ++t) total[t] = Isa::add(total[t], Isa::mul(sums[t], scale));
      }
    }
    add_scaled(source, span, total, acc);
  }

  template <typename Source>
  inline void subtract_mins(const Source& source, int span, Float (&sum)[T]) const {
    const int16_t* group_sums = args.min_sums + at(span) * kGroups;
    const Float scale = source.super_min();
    Int total[T];
    for (int t = 0; t < T; ++t) total[t] = Isa::zero();
#pragma GCC unroll 4
    for (int i = 0; i < kGroups / 2; ++i) {
      const Int mins = source.min_pair(i);
      for (int t = 0; t < T; ++t)
        total[t] = Isa::dot_16(total[t], mins, Isa::broadcast(group_sums + t * kGroups + 2 * i));
    }
    for (int t = 0; t < T; ++t) sum[t] = Isa::fnma(Isa::to_float(total[t]), scale, sum[t]);
  }

  // acc + the column in float32 * the outlier.
  template <typename Source>
  static inline Float add_outlier(const Source& source, const Outlier* outlier, Float acc) {
    return Isa::fma(float_column(source, outlier->column), Isa::broadcast_float(&outlier->value), acc);
  }
};

// Adds bias and residual to sums [num_tokens, Isa::kRows] of which only the first `rows` exist, and stores these.
__attribute__((noinline)) void store_some(const GemmArgs& args, int token, int row, int num_tokens, int rows,
                                          const float* sums) {
  for (int t = 0; t < num_tokens; ++t, sums += Isa::kRows) {
    const size_t at = size_t(token + t) * args.out_stride + size_t(row);
    for (int r = 0; r < rows; ++r) {
      float value = sums[r];
      if (args.bias != nullptr) value += args.bias[row + r];
      if (args.residual != nullptr) value += args.residual[at + size_t(r)];
      args.out[at + size_t(r)] = value;
    }
  }
}

// Always inline, and a called function gets a copy of `args`: with their address taken they would not stay in
// registers.
template <int T>
__attribute__((always_inline)) inline void store_tokens(const GemmArgs& args, int token, int row, Float (&acc)[T]) {
  const int rows = args.num_rows - row;
  if (rows <= 0) return;
  if (rows < Isa::kRows) {
    float sums[T][Isa::kRows];
    for (int t = 0; t < T; ++t) Isa::store_float(sums[t], acc[t]);
    const GemmArgs copy = args;
    return store_some(copy, token, row, T, rows, sums[0]);
  }
  for (int t = 0; t < T; ++t) {
    const size_t at = size_t(token + t) * args.out_stride + size_t(row);
    if (args.bias != nullptr) acc[t] = Isa::add_float(acc[t], Isa::load_float(args.bias + row));
    if (args.residual != nullptr) acc[t] = Isa::add_float(acc[t], Isa::load_float(args.residual + at));
    Isa::store_float(args.out + at, acc[t]);
  }
}

// The spans [first, first + count) of Isa::kRows rows from `row` on, for all tokens: between panels sums wait in
// memory, after the last one they are outputs.
struct PanelSums {
  int first, count;
  int row;
  float* waiting;  // [num_tokens, Isa::kRows]

  template <int T>
  inline void take_up(int token, Float (&acc)[T]) const {
    for (int t = 0; t < T; ++t)
      acc[t] = first == 0 ? Isa::zero_float() : Isa::load_float(waiting + (token + t) * Isa::kRows);
  }
  template <int T>
  inline void put_away(const GemmArgs& args, int token, Float (&acc)[T]) const {
    if (first + count == args.num_spans) return store_tokens(args, token, row, acc);
    for (int t = 0; t < T; ++t) Isa::store_float(waiting + (token + t) * Isa::kRows, acc[t]);
  }
};

}  // namespace
}  // namespace qwin
