// SPDX-License-Identifier: Apache-2.0
// The tile unit (AMX) in the integer GEMM: it makes the group sums of 16 tokens, everything else is gemm_span.h for one
// token. An unpacked span is an operand as it stands: a row of a weight tile is one quad, 16 rows x 4 columns.
//
// Tiles 0 - 3 take the products of four groups (16 tokens x 16 rows of int32), so that their latencies overlap; 4 and 5
// are activations (16 tokens x a group), 6 and 7 weights.
#pragma once

#include "kernels/x86/gemm_span.h"

namespace qwin {
namespace {

constexpr int kUnitTokens = 16;

struct alignas(64) UnitConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64};
  uint8_t rows[16] = {kUnitTokens, kUnitTokens, kUnitTokens, kUnitTokens};
};

// Quads that meet in one instruction: a group of 32 or 16 columns, or a quarter of a span.
template <PackedFormat kFormat>
constexpr int kUnitQuads = packed_layout(kFormat).group() == 16 ? 4 : 8;

// Shapes the thread's tiles for the format, until _tile_release. (No destructor: exceptions would need symbols that
// files of other instruction sets share.)
template <PackedFormat kFormat>
inline void shape_unit() {
  UnitConfig config;
  for (int tile = 4; tile < 8; ++tile) {
    config.rows[tile] = tile < 6 ? kUnitTokens : kUnitQuads<kFormat>;
    config.row_bytes[tile] = tile < 6 ? 4 * kUnitQuads<kFormat> : kVectorBytes;
  }
  _tile_loadconfig(&config);
}

struct UnitProducts {
  alignas(64) int32_t sums[kUnitTokens][kTileRows];
};

// products[i] = the i-th kQuads quads of x times those of the codes. x: a token every kSpan bytes.
template <int kQuads>
inline void multiply_four(const int8_t* x, const uint8_t* codes, UnitProducts* products) {
  constexpr int kColumns = 4 * kQuads, kCodes = kQuads * kVectorBytes;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, x, kSpan);
  _tile_loadd(6, codes, kVectorBytes);
  _tile_dpbsud(0, 4, 6);
  _tile_loadd(5, x + kColumns, kSpan);
  _tile_loadd(7, codes + kCodes, kVectorBytes);
  _tile_dpbsud(1, 5, 7);
  _tile_loadd(4, x + 2 * kColumns, kSpan);
  _tile_loadd(6, codes + 2 * kCodes, kVectorBytes);
  _tile_dpbsud(2, 4, 6);
  _tile_loadd(5, x + 3 * kColumns, kSpan);
  _tile_loadd(7, codes + 3 * kCodes, kVectorBytes);
  _tile_dpbsud(3, 5, 7);
  _tile_stored(0, products[0].sums, kVectorBytes);
  _tile_stored(1, products[1].sums, kVectorBytes);
  _tile_stored(2, products[2].sums, kVectorBytes);
  _tile_stored(3, products[3].sums, kVectorBytes);
}

// Adds span `span` and its outliers for 16 tokens from `token` to sums [16][Isa::kRows].
template <PackedFormat kFormat, typename Source>
inline void add_span_by_unit(const GemmArgs& args, const Source& source, int span, int token, float* sums) {
  using One = SpanKernel<kFormat, 1>;
  constexpr int kQuads = kUnitQuads<kFormat>, kParts = kQuadsPerSpan / kQuads;
  UnitProducts products[kParts];
  const int8_t* x = args.x.codes + One{args, token}.at(span) * kSpan;
  for (int part = 0; part < kParts; part += 4)
    multiply_four<kQuads>(x + part * 4 * kQuads, source.quad_bytes(part * kQuads), products + part);
  for (int t = 0; t < kUnitTokens; ++t) {
    const One one{args, token + t};
    Float acc[1] = {Isa::load_float(sums + t * Isa::kRows)};
    const auto group_sums = [&](int g, Int(&group)[1]) {
      one.clear_sums(span, g, group);
      constexpr int kPartsInGroup = kParts / One::kGroups;
      for (int i = 0; i < kPartsInGroup; ++i)
        group[0] = Isa::add(group[0], Isa::load(products[g * kPartsInGroup + i].sums[t]));
    };
    one.add_sums(source, span, group_sums, acc);
    one.add_outliers(source, span, acc);
    Isa::store_float(sums + t * Isa::kRows, acc[0]);
  }
}

}  // namespace
}  // namespace qwin
