// SPDX-License-Identifier: Apache-2.0
#include "quant/decode.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>

#include "core/half.h"
#include "qwin/error.h"

namespace qwin {
namespace {

// The file gives no alignment, so a block is copied before its 16-bit fields are read.
template <typename Block>
Block load(const std::byte* src) {
  Block b;
  std::memcpy(&b, src, sizeof(b));
  return b;
}

// n bytes to 2n quants: the low nibbles, then the high ones.
void unpack_nibbles(const uint8_t* qs, int n, uint8_t* out) {
  for (int i = 0; i < n; ++i) {
    out[i] = qs[i] & 0x0f;
    out[n + i] = qs[i] >> 4;
  }
}

// Bits 2j, 2j+1 of qs[32h + i] are added, shifted left, to out[128h + 32j + i].
void add_bit_pairs(const uint8_t* qs, int shift, uint8_t* out) {
  for (int h = 0; h < 2; ++h) {
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < 32; ++i) out[128 * h + 32 * j + i] |= ((qs[32 * h + i] >> (2 * j)) & 3) << shift;
    }
  }
}

// Bit k of mask[i] is added, shifted left, to out[32k + i].
void add_bit_planes(const uint8_t* mask, int shift, uint8_t* out) {
  for (int k = 0; k < 8; ++k) {
    for (int i = 0; i < 32; ++i) out[32 * k + i] |= ((mask[i] >> k) & 1) << shift;
  }
}

// Bit i of the 32-bit number is bit 4 of out[i]. A byte is copied into eight, each keeps a bit of its own, and adding
// 127 carries that bit, wherever it is, into the top one.
void add_fifth_bits(const uint8_t (&qh)[4], uint8_t* out) {
  for (int i = 0; i < 4; ++i) {
    const uint64_t bits = (qh[i] * 0x0101010101010101u) & 0x8040201008040201u;
    uint64_t quants;
    std::memcpy(&quants, out + 8 * i, 8);
    quants |= ((bits + 0x7f7f7f7f7f7f7f7fu) & 0x8080808080808080u) >> 3;
    std::memcpy(out + 8 * i, &quants, 8);
  }
}

// The 6-bit scales and mins of Q4_K and Q5_K.
void unpack_scale_mins(const uint8_t (&s)[12], CodeBlock* b) {
  for (int i = 0; i < 4; ++i) {
    b->sub_scales[i] = s[i] & 0x3f;
    b->sub_mins[i] = s[4 + i] & 0x3f;
    b->sub_scales[4 + i] = (s[8 + i] & 0x0f) | ((s[i] >> 2) & 0x30);
    b->sub_mins[4 + i] = (s[8 + i] >> 4) | ((s[4 + i] >> 2) & 0x30);
  }
}

// Each unpack sets d_bits, quants and, where the format has them, dmin_bits, sub_scales and sub_mins.

void unpack(const BlockQ4_0& s, CodeBlock* b) {
  b->d_bits = s.d;
  unpack_nibbles(s.qs, 16, b->quants);
}

void unpack(const BlockQ4_1& s, CodeBlock* b) {
  b->d_bits = s.d;
  b->dmin_bits = s.m ^ 0x8000u;
  b->sub_mins[0] = 1;
  unpack_nibbles(s.qs, 16, b->quants);
}

void unpack(const BlockQ5_0& s, CodeBlock* b) {
  b->d_bits = s.d;
  unpack_nibbles(s.qs, 16, b->quants);
  add_fifth_bits(s.qh, b->quants);
}

void unpack(const BlockQ5_1& s, CodeBlock* b) {
  b->d_bits = s.d;
  b->dmin_bits = s.m ^ 0x8000u;
  b->sub_mins[0] = 1;
  unpack_nibbles(s.qs, 16, b->quants);
  add_fifth_bits(s.qh, b->quants);
}

void unpack(const BlockQ8_0& s, CodeBlock* b) {
  b->d_bits = s.d;
  for (int i = 0; i < 32; ++i) b->quants[i] = static_cast<uint8_t>(s.qs[i] + 128);
}

void unpack(const BlockIQ4_NL& s, CodeBlock* b) {
  b->d_bits = s.d;
  unpack_nibbles(s.qs, 16, b->quants);
}

void unpack(const BlockQ2_K& s, CodeBlock* b) {
  b->d_bits = s.d;
  b->dmin_bits = s.dmin;
  for (int g = 0; g < 16; ++g) {
    b->sub_scales[g] = s.scales[g] & 0x0f;
    b->sub_mins[g] = s.scales[g] >> 4;
  }
  std::fill_n(b->quants, 256, uint8_t{0});
  add_bit_pairs(s.qs, 0, b->quants);
}

void unpack(const BlockQ3_K& s, CodeBlock* b) {
  b->d_bits = s.d;
  for (int g = 0; g < 16; ++g) {
    const int low = (s.scales[g % 8] >> (4 * (g / 8))) & 0x0f;
    const int high = (s.scales[8 + g % 4] >> (2 * (g / 4))) & 3;
    b->sub_scales[g] = static_cast<int16_t>((low | (high << 4)) - 32);
  }
  std::fill_n(b->quants, 256, uint8_t{0});
  add_bit_pairs(s.qs, 0, b->quants);
  add_bit_planes(s.hmask, 2, b->quants);
}

void unpack(const BlockQ4_K& s, CodeBlock* b) {
  b->d_bits = s.d;
  b->dmin_bits = s.dmin;
  unpack_scale_mins(s.scales, b);
  for (int j = 0; j < 4; ++j) unpack_nibbles(s.qs + 32 * j, 32, b->quants + 64 * j);
}

void unpack(const BlockQ5_K& s, CodeBlock* b) {
  b->d_bits = s.d;
  b->dmin_bits = s.dmin;
  unpack_scale_mins(s.scales, b);
  for (int j = 0; j < 4; ++j) unpack_nibbles(s.qs + 32 * j, 32, b->quants + 64 * j);
  add_bit_planes(s.qh, 4, b->quants);
}

void unpack(const BlockQ6_K& s, CodeBlock* b) {
  b->d_bits = s.d;
  std::copy_n(s.scales, 16, b->sub_scales);
  for (int h = 0; h < 2; ++h) unpack_nibbles(s.ql + 64 * h, 64, b->quants + 128 * h);
  add_bit_pairs(s.qh, 4, b->quants);
}

void unpack(const BlockIQ4_XS& s, CodeBlock* b) {
  b->d_bits = s.d;
  for (int g = 0; g < 8; ++g) {
    const int low = (s.scales_l[g / 2] >> (4 * (g % 2))) & 0x0f;
    const int high = (s.scales_h >> (2 * g)) & 3;
    b->sub_scales[g] = static_cast<int16_t>((low | (high << 4)) - 32);
    unpack_nibbles(s.qs + 16 * g, 16, b->quants + 32 * g);
  }
}

void unpack_head(uint32_t head, CodeBlock* b) {
  b->d_bits = static_cast<uint16_t>(head >> 20 << 3);
  for (int g = 0; g < 4; ++g) b->sub_scales[g] = static_cast<int16_t>(static_cast<int32_t>(head << (27 - 5 * g)) >> 27);
}

// The head and the nibbles of a span block.
void unpack_span(uint32_t head, const uint8_t (&nibbles)[64], CodeBlock* b) {
  unpack_head(head, b);
  for (int i = 0; i < 2; ++i) unpack_nibbles(nibbles + 32 * i, 32, b->quants + 64 * i);
}

void unpack(const BlockQ3& s, CodeBlock* b) {
  unpack_head(s.head, b);
  for (int i = 0; i < kSpanElements; ++i) {
    const int low = (s.ql[i % 32] >> (i / 32 * 2)) & 3, high = (s.qh[i % 16] >> (i / 16)) & 1;
    b->quants[i] = static_cast<uint8_t>(2 * (low | high << 2));
  }
}

void unpack(const BlockQ4& s, CodeBlock* b) { unpack_span(s.head, s.qs, b); }

void unpack(const BlockQ5& s, CodeBlock* b) {
  unpack_span(s.head, s.ql, b);
  for (int i = 0; i < kSpanElements; ++i) b->quants[i] |= ((s.qh[i % 16] >> (i / 16)) & 1) << 4;
}

void unpack(const BlockQ6& s, CodeBlock* b) {
  unpack_span(s.head, s.ql, b);
  for (int g = 0; g < 4; ++g) {
    for (int i = 0; i < 32; ++i) b->quants[32 * g + i] |= ((s.qh[i] >> (2 * g)) & 3) << 4;
  }
}

void unpack(const BlockQ8& s, CodeBlock* b) {
  b->d_bits = s.d;
  for (int i = 0; i < kSpanElements; ++i) b->quants[i] = static_cast<uint8_t>(s.qs[i] + 128);
}

template <typename Block>
void unpack_stored(const std::byte* src, CodeBlock* b) {
  unpack(load<Block>(src), b);
}

void set_codes(const CodeFormat& format, CodeBlock* b) {
  if (format.has_table) {
    for (int i = 0; i < format.num_elements; ++i) b->codes[i] = kIq4Values[b->quants[i]];
  } else {
    for (int i = 0; i < format.num_elements; ++i) b->codes[i] = static_cast<int16_t>(b->quants[i] - format.zero_point);
  }
}

}  // namespace

const CodeFormat* code_format(DType type) {
  static constexpr CodeFormat kFormats[] = {
      {32, 32, 4, 8, false, false},      // Q4_0
      {32, 32, 4, 0, true, false},       // Q4_1
      {32, 32, 5, 16, false, false},     // Q5_0
      {32, 32, 5, 0, true, false},       // Q5_1
      {32, 32, 8, 128, false, false},    // Q8_0
      {256, 16, 2, 0, true, false},      // Q2_K
      {256, 16, 3, 4, false, false},     // Q3_K
      {256, 32, 4, 0, true, false},      // Q4_K
      {256, 32, 5, 0, true, false},      // Q5_K
      {256, 16, 6, 32, false, false},    // Q6_K
      {32, 32, 4, 0, false, true},       // IQ4_NL
      {256, 32, 4, 0, false, true},      // IQ4_XS
      {128, 32, 4, 0, false, true},      // Q4
      {128, 32, 6, 32, false, false},    // Q6
      {128, 128, 8, 128, false, false},  // Q8
      {128, 32, 4, 0, false, true},      // Q3: as codes of Q4
      {128, 32, 5, 16, false, false},    // Q5
  };
  static_assert(std::size(kFormats) == kNumDTypes - static_cast<int>(DType::q4_0));
  return type < DType::q4_0 ? nullptr : &kFormats[static_cast<int>(type) - static_cast<int>(DType::q4_0)];
}

UnpackBlockFn unpack_block(DType type) {
  switch (type) {
    case DType::q4_0: return unpack_stored<BlockQ4_0>;
    case DType::q4_1: return unpack_stored<BlockQ4_1>;
    case DType::q5_0: return unpack_stored<BlockQ5_0>;
    case DType::q5_1: return unpack_stored<BlockQ5_1>;
    case DType::q8_0: return unpack_stored<BlockQ8_0>;
    case DType::q2_k: return unpack_stored<BlockQ2_K>;
    case DType::q3_k: return unpack_stored<BlockQ3_K>;
    case DType::q4_k: return unpack_stored<BlockQ4_K>;
    case DType::q5_k: return unpack_stored<BlockQ5_K>;
    case DType::q6_k: return unpack_stored<BlockQ6_K>;
    case DType::iq4_nl: return unpack_stored<BlockIQ4_NL>;
    case DType::iq4_xs: return unpack_stored<BlockIQ4_XS>;
    case DType::q4: return unpack_stored<BlockQ4>;
    case DType::q5: return unpack_stored<BlockQ5>;
    case DType::q6: return unpack_stored<BlockQ6>;
    case DType::q8: return unpack_stored<BlockQ8>;
    case DType::q3: return unpack_stored<BlockQ3>;
    case DType::f32:
    case DType::f16:
    case DType::bf16: return nullptr;
  }
  return nullptr;
}

void decode_block(DType type, const std::byte* src, CodeBlock* block) {
  const CodeFormat* format = code_format(type);
  if (format == nullptr) {
    throw Error(ErrorCode::bad_type, std::string(dtype_info(type).name) + " has no quantized blocks to decode");
  }
  block->num_elements = format->num_elements;
  block->group_size = format->group_size;
  block->dmin_bits = 0;
  block->sub_scales[0] = 1;
  if (!format->has_mins) std::fill_n(block->sub_mins, 16, int16_t{0});
  unpack_block(type)(src, block);
  block->d = half_to_float(block->d_bits) * (has_head(type) ? kHeadUnit : 1);
  block->dmin = half_to_float(block->dmin_bits);
  set_codes(*format, block);
}

}  // namespace qwin
