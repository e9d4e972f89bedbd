// SPDX-License-Identifier: Apache-2.0
// The tile unit (AMX) in the integer GEMM. It multiplies so fast that the work between its products decides: so the
// products of a span come out of it as few sums as the format allows, and a token's outlier finds its column ready.
//
//   flat    codes less their zero; one sum a group of 32 columns, since each has a float scale of its own
//   nested  code * sub-scale, 13 bits, in two bytes: w = 128 high + low; two sums a span
//   whole   codes less their zero; one sum a span
//
// A quad of an unpacked span is one row of a weight tile: 16 rows of weights x 4 columns. Tiles 0 - 3 are sums (16
// tokens x 16 rows of int32), 4 and 5 activations (16 tokens x 64 or 32 columns), 6 and 7 weights.
#pragma once

#include "kernels/x86/gemm_span.h"

namespace qwin {
namespace {

constexpr int kTileTokens = 16;
constexpr int kUnitFrom = 96;  // tokens from which unpacking for the unit pays

template <PackedFormat kFormat>
struct UnitShape {
  static constexpr PackedLayout kLayout = packed_layout(kFormat);
  static constexpr bool kFolded = kLayout.nested() && kLayout.scale != ScaleKind::span;
  static constexpr int kPlanes = kFolded ? 2 : 1;
  static constexpr int kSums = kLayout.nested() ? kPlanes : 4;                // of a span
  static constexpr int kTokens = kSums == 4 ? kTileTokens : 2 * kTileTokens;  // whose sums fill the tiles
  static constexpr int kQuads = kLayout.nested() ? 16 : 8;                    // that meet in one instruction
};

// A span as the unit reads it: 2 or 4 KiB of bytes, and 8 KiB of float columns for the outliers.
template <PackedFormat kFormat>
struct UnitSpan : SpanScales<kFormat> {
  using Shape = UnitShape<kFormat>;
  static constexpr PackedLayout kLayout = packed_layout(kFormat);

  alignas(64) int8_t planes[Shape::kPlanes][kQuadsPerSpan][kVectorBytes];  // low, high
  alignas(64) float columns[kSpan][kTileRows];

  void unpack(const PackedSpan<kFormat>& from) {
    SpanScales<kFormat>::unpack_scales(from);
#pragma GCC unroll 1
    for (int group32 = 0; group32 < 4; ++group32) {
#pragma GCC unroll 8
      for (int q = 0; q < 8; ++q) {
        const int quad = group32 * 8 + q, group = quad * 4 / kLayout.group();
        const Int codes = _mm512_sub_epi8(from.quad(group32, q), Isa::bytes(kLayout.zero));
        unpack_columns(quad, group, codes);
        if constexpr (Shape::kFolded) {
          unpack_folded(quad, codes, from.sub_scale(group));
        } else {
          Isa::store(planes[0][quad], codes);
        }
      }
    }
  }

  void unpack_folded(int quad, Int codes, Int sub_scale) {
    const Int scale = Isa::merge(Isa::shift_left32(sub_scale, 16), sub_scale, Isa::set_int(0xffff));
    const Int even = _mm512_mullo_epi16(_mm512_srai_epi16(_mm512_slli_epi16(codes, 8), 8), scale);
    const Int odd = _mm512_mullo_epi16(_mm512_srai_epi16(codes, 8), scale);
    Isa::store(planes[0][quad],
               Isa::merge(Isa::bit_and(even, Isa::words(0x7f)), Isa::shift_left(odd, 8), Isa::words(0x7f00)));
    Isa::store(planes[1][quad], Isa::merge(Isa::bit_and(Isa::shift_left(odd, 1), Isa::words(0xff00)),
                                           _mm512_srai_epi16(even, 7), Isa::words(0xff)));
  }

  // What float_column() says of any source, for the four columns of a quad.
  void unpack_columns(int quad, int group, Int codes) {
    const Float scale = SpanScales<kFormat>::group_scale(uint32_t(group));
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Float code = Isa::to_float(Isa::shift_right32(Isa::shift_left32(codes, 24 - 8 * i), 24));
      Float value = Isa::mul_float(code, scale);
      if constexpr (kLayout.has_min()) value = Isa::fms(code, scale, SpanScales<kFormat>::group_min(uint32_t(group)));
      Isa::store_float(columns[quad * 4 + i], value);
    }
  }
};

template <PackedFormat kFormat>
inline Float float_column(const UnitSpan<kFormat>& source, uint32_t k) {
  return Isa::load_float(source.columns[k]);
}

struct alignas(64) UnitConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64};
  uint8_t rows[16] = {};
};

// Shapes the thread's tiles for up to 16 tokens, and as many more in every second one, until _tile_release. (No
// destructor: exceptions would need symbols that files of other instruction sets share.)
template <PackedFormat kFormat>
inline void shape_unit(int tokens, int more_tokens) {
  constexpr int kQuads = UnitShape<kFormat>::kQuads;
  UnitConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    const bool sums = tile < 4, weights = tile >= 6;
    const bool second = UnitShape<kFormat>::kTokens > kTileTokens && tile % 2 == 1;
    config.rows[tile] = uint8_t(weights ? kQuads : second ? more_tokens : tokens);
    config.row_bytes[tile] = sums || weights ? kVectorBytes : 4 * kQuads;
    if (config.rows[tile] == 0) config.row_bytes[tile] = 0;
  }
  _tile_loadconfig(&config);
}

// Sums of a span: of nested formats [plane][32 tokens], of flat ones [group][16 tokens].
template <PackedFormat kFormat>
struct UnitSums {
  alignas(64) int32_t sums[UnitShape<kFormat>::kSums][UnitShape<kFormat>::kTokens][kTileRows];
};

// One or two tiles of tokens; x: a token every kSpan bytes.
template <PackedFormat kFormat, bool kTwo>
inline void multiply_nested(const int8_t* x, const UnitSpan<kFormat>& span, UnitSums<kFormat>& to) {
  constexpr bool kFolded = UnitShape<kFormat>::kFolded;
  constexpr int kQuads = UnitShape<kFormat>::kQuads;
  const int8_t* more = x + kTileTokens * kSpan;
  _tile_zero(0);
  if constexpr (kTwo) _tile_zero(1);
  if constexpr (kFolded) _tile_zero(2);
  if constexpr (kFolded && kTwo) _tile_zero(3);
#pragma GCC unroll 2
  for (int i = 0; i < kQuadsPerSpan / kQuads; ++i) {
    _tile_loadd(4, x + i * 4 * kQuads, kSpan);
    _tile_loadd(6, span.planes[0][i * kQuads], kVectorBytes);
    _tile_dpbssd(0, 4, 6);
    if constexpr (kTwo) {
      _tile_loadd(5, more + i * 4 * kQuads, kSpan);
      _tile_dpbssd(1, 5, 6);
    }
    if constexpr (kFolded) {
      _tile_loadd(7, span.planes[1][i * kQuads], kVectorBytes);
      _tile_dpbssd(2, 4, 7);
      if constexpr (kTwo) _tile_dpbssd(3, 5, 7);
    }
  }
  _tile_stored(0, to.sums[0], kVectorBytes);
  if constexpr (kTwo) _tile_stored(1, to.sums[0][kTileTokens], kVectorBytes);
  if constexpr (kFolded) _tile_stored(2, to.sums[1], kVectorBytes);
  if constexpr (kFolded && kTwo) _tile_stored(3, to.sums[1][kTileTokens], kVectorBytes);
}

template <PackedFormat kFormat>
inline void multiply_flat(const int8_t* x, const UnitSpan<kFormat>& span, UnitSums<kFormat>& to) {
  constexpr int kQuads = UnitShape<kFormat>::kQuads, kColumns = 4 * kQuads;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, x, kSpan);
  _tile_loadd(6, span.planes[0][0], kVectorBytes);
  _tile_dpbssd(0, 4, 6);
  _tile_loadd(5, x + kColumns, kSpan);
  _tile_loadd(7, span.planes[0][kQuads], kVectorBytes);
  _tile_dpbssd(1, 5, 7);
  _tile_loadd(4, x + 2 * kColumns, kSpan);
  _tile_loadd(6, span.planes[0][2 * kQuads], kVectorBytes);
  _tile_dpbssd(2, 4, 6);
  _tile_loadd(5, x + 3 * kColumns, kSpan);
  _tile_loadd(7, span.planes[0][3 * kQuads], kVectorBytes);
  _tile_dpbssd(3, 5, 7);
  _tile_stored(0, to.sums[0], kVectorBytes);
  _tile_stored(1, to.sums[1], kVectorBytes);
  _tile_stored(2, to.sums[2], kVectorBytes);
  _tile_stored(3, to.sums[3], kVectorBytes);
}

// Token t's share of a span.
template <PackedFormat kFormat>
inline void add_unit_sums(const SpanKernel<kFormat, 1>& one, const UnitSpan<kFormat>& span, int index,
                          const UnitSums<kFormat>& from, int t, Float (&acc)[1]) {
  if constexpr (UnitShape<kFormat>::kFolded) {
    const Int total[1] = {Isa::add(Isa::load(from.sums[0][t]), Isa::shift_left32(Isa::load(from.sums[1][t]), 7))};
    one.add_scaled(span, index, total, acc);
  } else {
    one.add_sums(span, index, [&](int g, Int(&sums)[1]) { sums[0] = Isa::load(from.sums[g][t]); }, acc);
  }
  one.add_outliers(span, index, acc);
}

// UnitShape::kTokens tokens or fewer meet the spans of a panel.
template <PackedFormat kFormat, bool kTwo>
__attribute__((noinline)) void panel_tokens_by_unit(const GemmArgs& args, const UnitSpan<kFormat>* panel,
                                                    const PanelSums& sums, int token, int tokens) {
  UnitSums<kFormat> products[kBlockSpans];
  asm volatile("" ::: "memory");  // tiles read the panel behind the compiler's back
  for (int i = 0; i < sums.count; ++i) {
    const int8_t* x = args.x.codes + SpanKernel<kFormat, 1>{args, token}.at(sums.first + i) * kSpan;
    if constexpr (UnitShape<kFormat>::kSums == 4) {
      multiply_flat(x, panel[i], products[i]);
    } else {
      multiply_nested<kFormat, kTwo>(x, panel[i], products[i]);
    }
  }
  for (int t = 0; t < tokens; ++t) {
    const SpanKernel<kFormat, 1> one{args, token + t};
    Float acc[1];
    sums.take_up(token + t, acc);
    for (int i = 0; i < sums.count; ++i) add_unit_sums(one, panel[i], sums.first + i, products[i], t, acc);
    one.add_extras([&](int i) -> const UnitSpan<kFormat>& { return panel[i]; }, sums.first, sums.count, acc);
    sums.put_away(args, token + t, acc);
  }
}

template <PackedFormat kFormat>
inline void meet_panel(const GemmArgs& args, const UnitSpan<kFormat>* panel, const PanelSums& sums) {
  constexpr int kTokens = UnitShape<kFormat>::kTokens;
  constexpr bool kTwo = kTokens > kTileTokens;
  int token = 0;
  if (args.num_tokens >= kTokens) shape_unit<kFormat>(kTileTokens, kTileTokens);
  for (; args.num_tokens - token >= kTokens; token += kTokens)
    panel_tokens_by_unit<kFormat, kTwo>(args, panel, sums, token, kTokens);
  const int left = args.num_tokens - token;
  if (left > kTileTokens) {
    shape_unit<kFormat>(kTileTokens, left - kTileTokens);
    panel_tokens_by_unit<kFormat, kTwo>(args, panel, sums, token, left);
  } else if (left > 0) {
    shape_unit<kFormat>(left, 0);
    panel_tokens_by_unit<kFormat, false>(args, panel, sums, token, left);
  }
  _tile_release();
}

}  // namespace
}  // namespace qwin
