// SPDX-License-Identifier: Apache-2.0
// Quantized blocks as they lie in a file (little-endian, no padding): GGUF's and qwin's own. For the decoder and for
// kernels that repack. A flat block has 32 elements and one scale; a nested block has 256 elements in groups with
// integer scales of their own; a span block, qwin's, has 128. Elements are written e0, e1 …; a byte is drawn from bit 7
// to bit 0; d, m, dmin are f16 bits.
#pragma once

#include <cstdint>

namespace qwin {

inline constexpr int kFlatElements = 32;
inline constexpr int kNestedElements = 256;
inline constexpr int kSpanElements = 128;

// IQ4_NL and IQ4_XS store an index into this table.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Flat blocks. Nibbles: qs[i] = | e(i+16) : 4 | e(i) : 4 |

// w = d * (q - 8), q in 0..15
struct BlockQ4_0 {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

// w = d * q + m
struct BlockQ4_1 {
  uint16_t d;
  uint16_t m;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// w = d * (q - 16), q in 0..31: four low bits in qs, bit 4 of e(i) is bit i of qh read as one 32-bit number
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

// w = d * q + m, bits as in Q5_0
struct BlockQ5_1 {
  uint16_t d;
  uint16_t m;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// w = d * q, qs[i] = e(i)
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// w = d * kIq4Values[q]
struct BlockIQ4_NL {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

// Nested blocks.

// 16 groups of 16. w = d * sc[g] * q - dmin * mn[g], q in 0..3
//   scales[g]     = | mn[g] : 4 | sc[g] : 4 |
//   qs[32h + i]   = | e(128h+96+i) : 2 | e(128h+64+i) : 2 | e(128h+32+i) : 2 | e(128h+i) : 2 |   h in 0..1, i in 0..31
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d;
  uint16_t dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// 16 groups of 16. w = d * (sc[g] - 32) * (q - 4), q in 0..7: two low bits in qs as in Q2_K, bit 2 in hmask
//   hmask[i]      bit k = bit 2 of e(32k+i)                                     k in 0..7, i in 0..31
//   scales[i]     = | low 4 of sc[i+8] | low 4 of sc[i] |                       i in 0..7
//   scales[8 + i] = | high 2 of sc[i+12] | sc[i+8] | sc[i+4] | sc[i] |          i in 0..3
struct BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint16_t d;
};
static_assert(sizeof(BlockQ3_K) == 110);

// 8 groups of 32. w = d * sc[g] * q - dmin * mn[g], q in 0..15, sc and mn in 0..63
//   scales[i]     = | high 2 of sc[i+4] | sc[i] : 6 |                           i in 0..3
//   scales[4 + i] = | high 2 of mn[i+4] | mn[i] : 6 |
//   scales[8 + i] = | low 4 of mn[i+4]  | low 4 of sc[i+4] |
//   qs[32j + i]   = | e(64j+32+i) : 4 | e(64j+i) : 4 |                          j in 0..3, i in 0..31
struct BlockQ4_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// As Q4_K with q in 0..31
//   qh[i]         bit g = bit 4 of e(32g+i)                                     g in 0..7, i in 0..31
struct BlockQ5_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// 16 groups of 16. w = d * sc[g] * (q - 32), q in 0..63, sc in -128..127
//   ql[64h + i]   = | low 4 of e(128h+64+i) | low 4 of e(128h+i) |              h in 0..1, i in 0..63
//   qh[32h + i]   = | high 2 of e(128h+96+i) | e(128h+64+i) | e(128h+32+i) | e(128h+i) |   i in 0..31
struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// 8 groups of 32. w = d * (sc[g] - 32) * kIq4Values[q]
//   scales_h      bits 2g+1, 2g = high 2 of sc[g]                               g in 0..7
//   scales_l[i]   = | low 4 of sc[2i+1] | low 4 of sc[2i] |                     i in 0..3
//   qs[16g + i]   = | e(32g+16+i) : 4 | e(32g+i) : 4 |                          i in 0..15
struct BlockIQ4_XS {
  uint16_t d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136);

// Span blocks: four groups of 32 with signed sub-scales of 5 bits, which choose the side a table's or code's longer end
// is on, and a scale without a sign or the last three bits of an f16.
//   head          = | d : 12 | sub[3] : 5 | sub[2] : 5 | sub[1] : 5 | sub[0] : 5 |
// The f16 counts 2^-12: with sub-scales and codes up to 1905 times as large, its range is where weights are.
inline constexpr float kHeadUnit = 0x1p-12f;

// w = d * sub[g] * kIq4Values[q]
//   qs[32h + i]   = | e(64h+32+i) : 4 | e(64h+i) : 4 |                          h in 0..1, i in 0..31
struct BlockQ4 {
  uint32_t head;
  uint8_t qs[64];
};
static_assert(sizeof(BlockQ4) == 68);

// w = d * sub[g] * kIq4Values[2 * q], q in 0..7: every other code of Q4, as which it lies in memory
//   ql[i]         = | low 2 of e(96+i) | e(64+i) | e(32+i) | e(i) |             i in 0..31
//   qh[i]         bit k = bit 2 of e(16k+i)                                     k in 0..7, i in 0..15
struct BlockQ3 {
  uint32_t head;
  uint8_t ql[32];
  uint8_t qh[16];
};
static_assert(sizeof(BlockQ3) == 52);

// w = d * sub[g] * (q - 16), q in 0..31
//   ql            four low bits as Q4's qs
//   qh[i]         bit k = bit 4 of e(16k+i)                                     k in 0..7, i in 0..15
struct BlockQ5 {
  uint32_t head;
  uint8_t ql[64];
  uint8_t qh[16];
};
static_assert(sizeof(BlockQ5) == 84);

// w = d * sub[g] * (q - 32), q in 0..63
//   ql            four low bits as Q4's qs
//   qh[i]         = | high 2 of e(96+i) | e(64+i) | e(32+i) | e(i) |            i in 0..31
struct BlockQ6 {
  uint32_t head;
  uint8_t ql[64];
  uint8_t qh[32];
};
static_assert(sizeof(BlockQ6) == 100);

// w = d * q, qs[i] = e(i)
struct BlockQ8 {
  uint16_t d;
  int8_t qs[128];
};
static_assert(sizeof(BlockQ8) == 130);

}  // namespace qwin
