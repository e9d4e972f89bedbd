// SPDX-License-Identifier: Apache-2.0
// How weights lie in memory once they are repacked for the kernels: one layout for every instruction set.
//
// Rows are taken in tiles of 16, columns in spans of 128 (4 groups of 32). A tile is one stream that a kernel reads
// front to back: the order in memory is the order of use, which is what the processor's prefetcher follows (planes and
// scales apart from their codes, in streams of their own, halve the speed of Q6_K). Its vectors are 64 bytes: 16 rows x
// 4 consecutive columns, so that a 32-bit lane is a row and one broadcast of four activations meets all 16 rows. Four
// columns of all rows are a "quad"; a span has 32 quads.
//
//   u4, lut4  64 bytes hold two quads:   byte = code[quad even] | code[quad odd] << 4
//   u5        before the 4 vectors of a group one whose bit q is the fifth bit of quad q
//   u6        before the 2 vectors of a half group one whose bits 2i, 2i+1 are the upper bits of quad i
//   u8        one quad each
//
// A tile is a row of blocks; a block is what shares one f16 scale: 1 span (flat) or 2 spans (nested). Before its spans
// a nested block has 64 bytes: f16 scale[16], and dmin[16] where there are minima. A span is
//
//   flat          f16 scale[4 groups][16 rows] | codes                   w = scale * (code - zero)
//   flat_min      f16 scale[4][16] | f16 min[4][16] | codes              w = scale * code - min
//   nested32      s8 sub[4][16] | codes                                  w = scale * sub * (code - zero)
//   nested32_min  s8 sub[4][16] | u8 min[16][4] | codes                  w = scale * sub * code - dmin * min
//   nested16      s8 sub[8][16] | codes                                  groups of 16 columns
//   nested16_min  s8 sub[8][16] | u8 min[2][16][4] | codes
//   span_sub5     codes                                                  w = scale * sub * (code - zero)
//   span          codes                                                  w = scale * (code - zero)
//
// The last two are qwin's own, with one span a block. The 64 bytes before it are a word a row in span_sub5: bits 20 …
// 31 are the scale, 2^-12 times an f16 without its sign and its last three bits; bits 5g … 5g + 4 the signed sub-scale
// of group g.
//
// Everything is a multiple of 64 bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qwin {

inline constexpr int kTileRows = 16;
static constexpr float kHeadScale = 0x1p-12f;  // span_sub5: what the f16 of a word counts
inline constexpr int kSpan = 128;              // columns that share one activation scale
inline constexpr int kQuadsPerSpan = kSpan / 4;
inline constexpr int kVectorBytes = 4 * kTileRows;  // one quad of a tile in bytes

enum class CodeKind : uint8_t { u4, u5, u6, u8, lut4 };
enum class ScaleKind : uint8_t { flat, flat_min, nested32, nested32_min, nested16, nested16_min, span_sub5, span };

// One a quantized file type, which it represents without loss; Q3's codes are some of Q4's.
enum class PackedFormat : uint8_t {
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  q4,
  q5,
  q6,
  q8
};
inline constexpr int kNumPackedFormats = 16;

struct PackedLayout {
  CodeKind code;
  ScaleKind scale;
  int zero;  // what is subtracted from every code: 0 where the scales have a min

  constexpr bool nested() const { return scale != ScaleKind::flat && scale != ScaleKind::flat_min; }
  constexpr bool has_min() const {
    return scale == ScaleKind::flat_min || scale == ScaleKind::nested32_min || scale == ScaleKind::nested16_min;
  }
  constexpr int group() const {
    return scale == ScaleKind::nested16 || scale == ScaleKind::nested16_min ? 16
           : scale == ScaleKind::span                                       ? kSpan
                                                                            : 32;
  }
  constexpr bool of_span() const { return scale == ScaleKind::span_sub5 || scale == ScaleKind::span; }
  constexpr int groups_per_span() const { return kSpan / group(); }
  constexpr int spans_per_block() const { return nested() && !of_span() ? 2 : 1; }

  // Bytes of a span, and offsets within it.
  constexpr size_t code_bytes() const {
    return code == CodeKind::u8 ? 2048 : code == CodeKind::u6 ? 1536 : code == CodeKind::u5 ? 1280 : 1024;
  }
  constexpr size_t scales_bytes() const {
    return of_span() ? 0 : size_t(groups_per_span()) * kTileRows * (nested() ? 1 : 2);
  }
  constexpr size_t mins_offset() const { return scales_bytes(); }
  constexpr size_t codes_offset() const { return scales_bytes() * (has_min() ? 2 : 1); }
  constexpr size_t span_bytes() const { return codes_offset() + code_bytes(); }
  // Of a block; its f16 scales come first.
  constexpr size_t span_offset(int in_block) const { return (nested() ? 64 : 0) + size_t(in_block) * span_bytes(); }
  constexpr size_t block_bytes() const { return span_offset(spans_per_block()); }

  // Where in a span's codes, in vectors: the nibbles of quads 2 * pair and 2 * pair + 1, and the upper bits of group i
  // (u5) or half group i (u6).
  constexpr int nibbles_at(int pair) const {
    return code == CodeKind::u5   ? pair / 4 * 5 + 1 + pair % 4
           : code == CodeKind::u6 ? pair / 2 * 3 + 1 + pair % 2
                                  : pair;
  }
  constexpr int plane_at(int i) const { return i * (code == CodeKind::u5 ? 5 : 3); }
};

inline constexpr PackedLayout packed_layout(PackedFormat format) {
  switch (format) {
    case PackedFormat::q4_0: return {CodeKind::u4, ScaleKind::flat, 8};
    case PackedFormat::q4_1: return {CodeKind::u4, ScaleKind::flat_min, 0};
    case PackedFormat::q5_0: return {CodeKind::u5, ScaleKind::flat, 16};
    case PackedFormat::q5_1: return {CodeKind::u5, ScaleKind::flat_min, 0};
    case PackedFormat::q8_0: return {CodeKind::u8, ScaleKind::flat, 128};
    case PackedFormat::q2_k: return {CodeKind::u4, ScaleKind::nested16_min, 0};
    case PackedFormat::q3_k: return {CodeKind::u4, ScaleKind::nested16, 4};
    case PackedFormat::q4_k: return {CodeKind::u4, ScaleKind::nested32_min, 0};
    case PackedFormat::q5_k: return {CodeKind::u5, ScaleKind::nested32_min, 0};
    case PackedFormat::q6_k: return {CodeKind::u6, ScaleKind::nested16, 32};
    case PackedFormat::iq4_nl: return {CodeKind::lut4, ScaleKind::flat, 128};
    case PackedFormat::iq4_xs: return {CodeKind::lut4, ScaleKind::nested32, 128};
    case PackedFormat::q4: return {CodeKind::lut4, ScaleKind::span_sub5, 128};
    case PackedFormat::q5: return {CodeKind::u5, ScaleKind::span_sub5, 16};
    case PackedFormat::q6: return {CodeKind::u6, ScaleKind::span_sub5, 32};
    case PackedFormat::q8: return {CodeKind::u8, ScaleKind::span, 128};
  }
  return {};
}

// lut4: the non-linear values of IQ4_NL, IQ4_XS and Q4, plus 128.
inline constexpr uint8_t kLut4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

}  // namespace qwin
