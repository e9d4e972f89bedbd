// SPDX-License-Identifier: Apache-2.0
// The integer GEMM of packed_layout.h for x86, written once over a vector type. An ISA file defines `Isa` and includes
// this; everything here is in an unnamed namespace, so that no function compiled under other flags can stand in for it.
//
// Isa::kRows rows (16 in 512 bits, 8 in 256) meet T tokens: T accumulators each for the group, the span and the result.
// T = 8 uses 24 of 32 registers and 8 independent dot-product chains, enough for a latency of 4-5 cycles at one a
// cycle.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu_kernels.h"

namespace qwin {
namespace {

using Int = Isa::Int;
using Float = Isa::Float;

// Codes of one quad, all rows, in bytes. `codes` is the span's, already moved to this half of the rows; group of 32, q
// 0 … 7.
template <CodeKind kKind>
inline Int quad_codes(const uint8_t* codes, int group32, int q) {
  if constexpr (kKind == CodeKind::u8) return Isa::load(codes + (group32 * 8 + q) * kVectorBytes);
  const Int pair = Isa::load(codes + (group32 * 4 + q / 2) * kVectorBytes);
  const Int low = Isa::bit_and(q % 2 == 0 ? pair : Isa::shift_right(pair, 4), Isa::bytes(0x0f));
  if constexpr (kKind == CodeKind::lut4) return Isa::lookup(low);
  if constexpr (kKind == CodeKind::u5) {
    const Int plane = Isa::load(codes + 1024 + group32 * kVectorBytes);
    const Int bit = q <= 4 ? Isa::shift_left(plane, 4 - q) : Isa::shift_right(plane, q - 4);
    return Isa::merge(low, bit, Isa::bytes(0x10));
  }
  if constexpr (kKind == CodeKind::u6) {
    const Int plane = Isa::load(codes + 1024 + (group32 * 2 + q / 4) * kVectorBytes);
    const int i = q % 4;
    const Int bits = i <= 2 ? Isa::shift_left(plane, 4 - 2 * i) : Isa::shift_right(plane, 2);
    return Isa::merge(low, bits, Isa::bytes(0x30));
  }
  return low;
}

// The same for a quad known only at run time (0 … 31 of the span).
template <CodeKind kKind>
inline Int quad_codes_at(const uint8_t* codes, int quad) {
  if constexpr (kKind == CodeKind::u8) return Isa::load(codes + quad * kVectorBytes);
  const Int low =
      Isa::bit_and(Isa::shift_right_by(Isa::load(codes + quad / 2 * kVectorBytes), quad % 2 * 4), Isa::bytes(0x0f));
  if constexpr (kKind == CodeKind::lut4) return Isa::lookup(low);
  if constexpr (kKind == CodeKind::u5) {
    const Int plane = Isa::load(codes + 1024 + quad / 8 * kVectorBytes);
    return Isa::merge(low, Isa::shift_left(Isa::shift_right_by(plane, quad % 8), 4), Isa::bytes(0x10));
  }
  if constexpr (kKind == CodeKind::u6) {
    const Int plane = Isa::load(codes + 1024 + quad / 4 * kVectorBytes);
    return Isa::merge(low, Isa::shift_left(Isa::shift_right_by(plane, quad % 4 * 2), 4), Isa::bytes(0x30));
  }
  return low;
}

template <CodeKind kKind>
inline Int dot(Int acc, Int codes, Int activations) {
  // 8-bit codes times 8-bit activations overflow the 16 bits of `maddubs` in pairs; up to 6 bits they cannot.
  if constexpr (kKind == CodeKind::u8 || kKind == CodeKind::lut4) return Isa::dot_u8(acc, codes, activations);
  return Isa::dot_u6(acc, codes, activations);
}

// Adds one span to acc[T]. Offsets are those of this half of the rows.
template <PackedFormat kFormat, int T>
struct SpanKernel {
  static constexpr PackedLayout kLayout = packed_layout(kFormat);
  static constexpr int kGroups = kLayout.groups_per_span();
  static constexpr int kQuads = kLayout.group() / 4;

  const GemmArgs& args;
  int token;  // the first of T
  int half;   // which Isa::kRows rows of the tile

  const int32_t* zero_sums(int t, int span) const {
    return args.zero_sums + (size_t(token + t) * args.num_spans + span) * kGroups;
  }
  size_t span_at(int t, int span) const { return size_t(token + t) * args.num_spans + span; }

  inline void group_sums(const uint8_t* codes, int span, int g, Int (&sums)[T]) const {
    for (int t = 0; t < T; ++t) sums[t] = kLayout.zero != 0 ? Isa::broadcast(zero_sums(t, span) + g) : Isa::zero();
    const int8_t* x = args.x.codes + size_t(token) * args.code_stride + span * kSpan + g * kLayout.group();
#pragma GCC unroll 8
    for (int q = 0; q < kQuads; ++q) {
      const Int w =
          kQuads == 8 ? quad_codes<kLayout.code>(codes, g, q) : quad_codes<kLayout.code>(codes, g / 2, g % 2 * 4 + q);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t)
        sums[t] = dot<kLayout.code>(sums[t], w, Isa::broadcast(x + t * args.code_stride + 4 * q));
    }
  }

  inline Int outlier_dot(const uint8_t* codes, int t, int span) const {
    const size_t at = span_at(t, span);
    return dot<kLayout.code>(Isa::zero(), quad_codes_at<kLayout.code>(codes, args.x.outlier_quads[at]),
                             Isa::broadcast(args.x.outliers + at));
  }

  void add_flat(const uint8_t* block, int span, Float (&acc)[T]) const {
    const uint8_t* codes = block + half * Isa::kRows * 4;
    const uint8_t* scales = block + kLayout.scales_offset() + half * Isa::kRows * 2;
    const uint8_t* mins = block + kLayout.mins_offset() + half * Isa::kRows * 2;
    Float total[T];
    for (int t = 0; t < T; ++t) total[t] = Isa::zero_float();
#pragma GCC unroll 1
    for (int g = 0; g < kGroups; ++g) {
      Int sums[T];
      group_sums(codes, span, g, sums);
      const Float scale = Isa::load_half(scales + g * kTileRows * 2);
      for (int t = 0; t < T; ++t) total[t] = Isa::fma(Isa::to_float(sums[t]), scale, total[t]);
      if constexpr (kLayout.has_min()) {
        const Float min = Isa::load_half(mins + g * kTileRows * 2);
        for (int t = 0; t < T; ++t)
          total[t] = Isa::fnma(Isa::to_float(Isa::broadcast(zero_sums(t, span) + g)), min, total[t]);
      }
    }
    for (int t = 0; t < T; ++t) {
      const size_t at = span_at(t, span);
      const Int high = Isa::shift_left32(outlier_dot(codes, t, span), 8);
      total[t] = Isa::fma(Isa::to_float(high), Isa::load_half(scales + args.x.outlier_quads[at] / 8 * kTileRows * 2),
                          total[t]);
      acc[t] = Isa::fma(total[t], Isa::broadcast_float(args.x.scales + at), acc[t]);
    }
  }

  void add_nested(const uint8_t* block, int in_block, int span, Float (&acc)[T]) const {
    const uint8_t* codes = block + in_block * kLayout.code_bytes() + half * Isa::kRows * 4;
    const uint8_t* sub = block + kLayout.scales_offset() + in_block * kLayout.span_scales_bytes() + half * Isa::kRows;
    const uint8_t* super = block + kLayout.super_offset() + half * Isa::kRows * 2;
    Int total[T];
    for (int t = 0; t < T; ++t) total[t] = Isa::zero();
#pragma GCC unroll 1
    for (int g = 0; g < kGroups; ++g) {
      Int sums[T];
      group_sums(codes, span, g, sums);
      const Int scale = Isa::widen_s8(sub + g * kTileRows);
      for (int t = 0; t < T; ++t) total[t] = Isa::add(total[t], Isa::mul(sums[t], scale));
    }
    const Float scale = Isa::load_half(super);
    for (int t = 0; t < T; ++t) {
      const size_t at = span_at(t, span);
      const Int group_scale = Isa::widen_s8(sub + args.x.outlier_quads[at] / kQuads * kTileRows);
      total[t] = Isa::add(total[t], Isa::shift_left32(Isa::mul(outlier_dot(codes, t, span), group_scale), 8));
      acc[t] =
          Isa::fma(Isa::to_float(total[t]), Isa::mul_float(scale, Isa::broadcast_float(args.x.scales + at)), acc[t]);
    }
    if constexpr (kLayout.has_min()) subtract_mins(block, in_block, span, acc);
  }

  void subtract_mins(const uint8_t* block, int in_block, int span, Float (&acc)[T]) const {
    const uint8_t* mins = block + kLayout.mins_offset() + in_block * kLayout.span_mins_bytes() + half * Isa::kRows * 4;
    const Float scale = Isa::load_half(block + kLayout.super_offset() + kTileRows * 2 + half * Isa::kRows * 2);
    for (int t = 0; t < T; ++t) {
      const size_t at = span_at(t, span);
      const int16_t* sums = args.min_sums + at * kGroups;
      Int total = Isa::zero();
      for (int four = 0; four < kGroups / 4; ++four) {
        const Int bytes = Isa::load(mins + four * kVectorBytes);
        // Bytes 0 and 2 of each lane meet sums 0 and 2, bytes 1 and 3 the others: hence the order of min_sums.
        total = Isa::dot_16(total, Isa::bit_and(bytes, Isa::words(0x00ff)), Isa::broadcast(sums + four * 4));
        total = Isa::dot_16(total, Isa::shift_right(bytes, 8), Isa::broadcast(sums + four * 4 + 2));
      }
      acc[t] = Isa::fnma(Isa::to_float(total), Isa::mul_float(scale, Isa::broadcast_float(args.x.scales + at)), acc[t]);
    }
  }
};

template <int T>
inline void store_tokens(const GemmArgs& args, int token, int row, Float (&acc)[T]) {
  const int rows = args.num_rows - row;
  if (rows <= 0) return;
  for (int t = 0; t < T; ++t) {
    const size_t at = size_t(token + t) * args.out_stride + size_t(row);
    if (rows >= Isa::kRows) {
      if (args.bias != nullptr) acc[t] = Isa::add_float(acc[t], Isa::load_float(args.bias + row));
      if (args.residual != nullptr) acc[t] = Isa::add_float(acc[t], Isa::load_float(args.residual + at));
      Isa::store_float(args.out + at, acc[t]);
      continue;
    }
    float values[Isa::kRows];
    Isa::store_float(values, acc[t]);
    for (int r = 0; r < rows; ++r) {
      if (args.bias != nullptr) values[r] += args.bias[row + r];
      if (args.residual != nullptr) values[r] += args.residual[at + r];
      args.out[at + r] = values[r];
    }
  }
}

// One stream of memory a core wants its next lines requested some 2 KiB ahead, into the L1 cache: into the L2 alone,
// Zen 4 reads Q6_K at 30 instead of 45 GB/s.
inline void prefetch_block(const uint8_t* block, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(block + 2560 + i, 0, 3);
}

template <PackedFormat kFormat, int T>
__attribute__((noinline)) void tile_tokens(const GemmArgs& args, size_t tile, int token) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  const uint8_t* data = reinterpret_cast<const uint8_t*>(args.weights) + tile * args.tile_bytes;
  for (int half = 0; half < kTileRows / Isa::kRows; ++half) {
    const SpanKernel<kFormat, T> kernel{args, token, half};
    Float acc[T];
    for (int t = 0; t < T; ++t) acc[t] = Isa::zero_float();
    const uint8_t* block = data;
    for (int span = 0; span < args.num_spans; span += layout.spans_per_block(), block += layout.block_bytes()) {
      if constexpr (T <= 2) prefetch_block(block, layout.block_bytes());
      if constexpr (layout.nested()) {
        kernel.add_nested(block, 0, span, acc);
        kernel.add_nested(block, 1, span + 1, acc);
      } else {
        kernel.add_flat(block, span, acc);
      }
    }
    store_tokens<T>(args, token, int(tile) * kTileRows + half * Isa::kRows, acc);
  }
}

template <PackedFormat kFormat>
void gemm_tiles(const GemmArgs& args, size_t tile_begin, size_t tile_end) {
  for (size_t tile = tile_begin; tile < tile_end; ++tile) {
    int token = 0;
    for (; token + 8 <= args.num_tokens && Isa::kMaxTokens >= 8; token += 8) tile_tokens<kFormat, 8>(args, tile, token);
    for (; token + 4 <= args.num_tokens; token += 4) tile_tokens<kFormat, 4>(args, tile, token);
    for (; token + 2 <= args.num_tokens; token += 2) tile_tokens<kFormat, 2>(args, tile, token);
    for (; token < args.num_tokens; ++token) tile_tokens<kFormat, 1>(args, tile, token);
  }
}

void fill_gemm_tiles(GemmTilesFn* table) {
  table[int(PackedFormat::q4_0)] = gemm_tiles<PackedFormat::q4_0>;
  table[int(PackedFormat::q4_1)] = gemm_tiles<PackedFormat::q4_1>;
  table[int(PackedFormat::q5_0)] = gemm_tiles<PackedFormat::q5_0>;
  table[int(PackedFormat::q5_1)] = gemm_tiles<PackedFormat::q5_1>;
  table[int(PackedFormat::q8_0)] = gemm_tiles<PackedFormat::q8_0>;
  table[int(PackedFormat::q2_k)] = gemm_tiles<PackedFormat::q2_k>;
  table[int(PackedFormat::q3_k)] = gemm_tiles<PackedFormat::q3_k>;
  table[int(PackedFormat::q4_k)] = gemm_tiles<PackedFormat::q4_k>;
  table[int(PackedFormat::q5_k)] = gemm_tiles<PackedFormat::q5_k>;
  table[int(PackedFormat::q6_k)] = gemm_tiles<PackedFormat::q6_k>;
  table[int(PackedFormat::iq4_nl)] = gemm_tiles<PackedFormat::iq4_nl>;
  table[int(PackedFormat::iq4_xs)] = gemm_tiles<PackedFormat::iq4_xs>;
}

}  // namespace
}  // namespace qwin
