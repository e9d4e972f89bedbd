// SPDX-License-Identifier: Apache-2.0
// Repacking without a detour over single codes, eight nibbles an instruction: for the types that Q4_K_M and its like
// are made of, since their users wait for it at every start. tests/ops compares it with the general way, block by
// block.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/packed_layout.h"
#include "quant/block_formats.h"

namespace qwin {

template <typename Word>
inline Word load_word(const void* p) {
  Word word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// The four bytes of one row in the vector at `vector_index`.
inline void put_quad(uint8_t* codes, int vector_index, int row, uint32_t word) {
  std::memcpy(codes + vector_index * kVectorBytes + 4 * row, &word, sizeof(word));
}

inline void put_half(uint8_t* p, int index, uint16_t bits) { std::memcpy(p + 2 * index, &bits, 2); }

// Two quads of nibbles, already masked, as one: the first low, the second high.
inline uint32_t join_quads(uint64_t nibbles) { return static_cast<uint32_t>(nibbles | nibbles >> 28); }

inline constexpr uint64_t kLowNibbles = 0x0f0f0f0f0f0f0f0f;

// `count` pairs of quads from the low nibbles of 8 * count bytes to pairs from `low` on, from the high ones to `high`.
template <PackedFormat kFormat>
inline void put_nibbles(const uint8_t* bytes, int count, uint8_t* codes, int low, int high, int row) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  for (int pair = 0; pair < count; ++pair) {
    const auto word = load_word<uint64_t>(bytes + 8 * pair);
    put_quad(codes, layout.nibbles_at(low + pair), row, join_quads(word & kLowNibbles));
    put_quad(codes, layout.nibbles_at(high + pair), row, join_quads(word >> 4 & kLowNibbles));
  }
}

// The file's block of a format that put_direct() knows.
template <PackedFormat kFormat>
struct DirectBlock {
  using Type = void;  // packed the general way
};
template <>
struct DirectBlock<PackedFormat::q4_k> {
  using Type = BlockQ4_K;
};
template <>
struct DirectBlock<PackedFormat::q6_k> {
  using Type = BlockQ6_K;
};
template <>
struct DirectBlock<PackedFormat::q5_0> {
  using Type = BlockQ5_0;
};
template <>
struct DirectBlock<PackedFormat::q8_0> {
  using Type = BlockQ8_0;
};

inline void put_direct(const BlockQ4_K& source, int row, uint8_t* block) {
  constexpr PackedLayout layout = packed_layout(PackedFormat::q4_k);
  const auto s = load_word<uint32_t>(source.scales), m = load_word<uint32_t>(source.scales + 4),
             h = load_word<uint32_t>(source.scales + 8);
  const uint32_t scales[2] = {s & 0x3f3f3f3f, (h & 0x0f0f0f0f) | (s >> 2 & 0x30303030)};
  const uint32_t mins[2] = {m & 0x3f3f3f3f, (h >> 4 & 0x0f0f0f0f) | (m >> 2 & 0x30303030)};
  for (int span = 0; span < 2; ++span) {
    uint8_t* sub = block + layout.span_offset(span);
    uint8_t* codes = sub + layout.codes_offset();
    for (int j = 0; j < 2; ++j)
      put_nibbles<PackedFormat::q4_k>(source.qs + 64 * span + 32 * j, 4, codes, 8 * j, 8 * j + 4, row);
    for (int g = 0; g < 4; ++g) sub[g * kTileRows + row] = static_cast<uint8_t>(scales[span] >> (8 * g));
    put_quad(sub + layout.mins_offset(), 0, row, mins[span]);
  }
  put_half(block, row, source.d);
  put_half(block, kTileRows + row, source.dmin);
}

inline void put_direct(const BlockQ6_K& source, int row, uint8_t* block) {
  constexpr PackedLayout layout = packed_layout(PackedFormat::q6_k);
  for (int span = 0; span < 2; ++span) {
    uint8_t* sub = block + layout.span_offset(span);
    uint8_t* codes = sub + layout.codes_offset();
    put_nibbles<PackedFormat::q6_k>(source.ql + 64 * span, 8, codes, 0, 8, row);
    const uint8_t* qh = source.qh + 32 * span;
    for (int half = 0; half < 2; ++half) {  // 16 columns of each of the four groups
      uint32_t upper[4] = {};
      for (int quad = 0; quad < 4; ++quad) {
        const auto word = load_word<uint32_t>(qh + 16 * half + 4 * quad);
        for (int g = 0; g < 4; ++g) upper[g] |= (word >> (2 * g) & 0x03030303) << (2 * quad);
      }
      for (int g = 0; g < 4; ++g) put_quad(codes, layout.plane_at(2 * g + half), row, upper[g]);
    }
    for (int g = 0; g < 8; ++g) sub[g * kTileRows + row] = static_cast<uint8_t>(source.scales[8 * span + g]);
  }
  put_half(block, row, source.d);
}

// Flat ones: 32 columns, group `g` of the span.

inline void put_direct(const BlockQ5_0& source, int row, int g, uint8_t* block) {
  constexpr PackedLayout layout = packed_layout(PackedFormat::q5_0);
  uint8_t* codes = block + layout.codes_offset();
  put_nibbles<PackedFormat::q5_0>(source.qs, 2, codes, 4 * g, 4 * g + 2, row);
  const auto fifth = load_word<uint32_t>(source.qh);
  uint32_t upper = 0;  // the four bits of a quad go to one bit of four bytes each
  for (int quad = 0; quad < 8; ++quad) upper |= ((fifth >> (4 * quad) & 15) * 0x00204081 & 0x01010101) << quad;
  put_quad(codes, layout.plane_at(g), row, upper);
  put_half(block, g * kTileRows + row, source.d);
}

inline void put_direct(const BlockQ8_0& source, int row, int g, uint8_t* block) {
  constexpr PackedLayout layout = packed_layout(PackedFormat::q8_0);
  for (int quad = 0; quad < 8; ++quad)  // + 128 without a carry is the top bit turned
    put_quad(block + layout.codes_offset(), 8 * g + quad, row, load_word<uint32_t>(source.qs + 4 * quad) ^ 0x80808080);
  put_half(block, g * kTileRows + row, source.d);
}

}  // namespace qwin
