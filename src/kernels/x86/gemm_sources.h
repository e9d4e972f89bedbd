// SPDX-License-Identifier: Apache-2.0
// Where the inner loop of the integer GEMM takes its weights from: PackedSpan unpacks in registers (few tokens), Panel
// holds a row's next spans as bytes (many tokens). Both answer the same questions for Isa::kRows rows of a tile.
// An ISA file defines `Isa` first; everything is in an unnamed namespace, so that no function compiled under other
// flags can stand in for it.
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
template <PackedFormat kFormat>
inline Int quad_codes(const uint8_t* codes, int group32, int q) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  constexpr CodeKind kKind = layout.code;
  if constexpr (kKind == CodeKind::u8) return Isa::load(codes + (group32 * 8 + q) * kVectorBytes);
  const Int pair = Isa::load(codes + layout.nibbles_at(group32 * 4 + q / 2) * kVectorBytes);
  const Int low = Isa::bit_and(q % 2 == 0 ? pair : Isa::shift_right(pair, 4), Isa::bytes(0x0f));
  if constexpr (kKind == CodeKind::lut4) return Isa::lookup(low);
  if constexpr (kKind == CodeKind::u5) {
    const Int plane = Isa::load(codes + layout.plane_at(group32) * kVectorBytes);
    const Int bit = q <= 4 ? Isa::shift_left(plane, 4 - q) : Isa::shift_right(plane, q - 4);
    return Isa::merge(low, bit, Isa::bytes(0x10));
  }
  if constexpr (kKind == CodeKind::u6) {
    const Int plane = Isa::load(codes + layout.plane_at(group32 * 2 + q / 4) * kVectorBytes);
    const int i = q % 4;
    const Int bits = i <= 2 ? Isa::shift_left(plane, 4 - 2 * i) : Isa::shift_right(plane, 2);
    return Isa::merge(low, bits, Isa::bytes(0x30));
  }
  return low;
}

// Byte k % 4 of every lane, as 32 bits.
inline Int select_byte(Int quads, uint32_t k) {
  alignas(64) static constexpr auto kSelect = [] {
    struct {
      uint8_t bytes[4][64];
    } table{};
    for (int byte = 0; byte < 4; ++byte)
      for (int i = 0; i < 64; ++i) table.bytes[byte][i] = uint8_t(i % 4 == 0 ? i % 16 + byte : 0x80);
    return table;
  }();
  return Isa::shuffle_bytes(quads, Isa::load(kSelect.bytes[k % 4]));
}

// Column k of a span unpacked to bytes, `quad` the one it is in: codes less their zero.
inline Float byte_column(const uint8_t* quad, uint32_t k, int zero) {
  Int code = select_byte(Isa::load(quad), k);
  if (zero != 0) code = Isa::add(code, Isa::set_int(-zero));
  return Isa::to_float(code);
}

// How far the bits of column k lie above their place in a code, in a lane of 32 bits.
struct ColumnShifts {
  int32_t nibble[8], plane5[32], plane6[16];
};
alignas(64) constexpr ColumnShifts kColumnShifts = [] {
  ColumnShifts shifts{};
  for (int k = 0; k < 8; ++k) shifts.nibble[k] = k % 4 * 8 + k / 4 * 4;
  for (int k = 0; k < 32; ++k) shifts.plane5[k] = (k % 4 * 8 + k / 4 - 4) & 31;
  for (int k = 0; k < 16; ++k) shifts.plane6[k] = (k % 4 * 8 + k / 4 * 2 - 4) & 31;
  return shifts;
}();

// The same of a packed span. Bits become the lowest ones of 2^23, whose neighbours in float32 are the whole numbers.
template <PackedFormat kFormat>
inline Float packed_column(const uint8_t* codes, uint32_t k) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  constexpr CodeKind kKind = layout.code;
  const uint32_t quad = k / 4;
  if constexpr (kKind == CodeKind::u8) return byte_column(codes + quad * kVectorBytes, k, layout.zero);
  const Int whole = Isa::float_bits(Isa::set_float(0x1p23f));
  const Int nibble = Isa::shift_right_lanes(Isa::load(codes + layout.nibbles_at(int(quad / 2)) * kVectorBytes),
                                            kColumnShifts.nibble + k % 8);
  Int code = Isa::merge(whole, nibble, Isa::set_int(0x0f));
  if constexpr (kKind == CodeKind::lut4) {
    code = Isa::merge(whole, Isa::lookup(Isa::bit_and(nibble, Isa::set_int(0x0f))), Isa::set_int(0xff));
  }
  if constexpr (kKind == CodeKind::u5) {
    const Int plane = Isa::load(codes + layout.plane_at(int(quad / 8)) * kVectorBytes);
    code = Isa::merge(code, Isa::rotate_right_lanes(plane, kColumnShifts.plane5 + k % 32), Isa::set_int(0x10));
  }
  if constexpr (kKind == CodeKind::u6) {
    const Int plane = Isa::load(codes + layout.plane_at(int(quad / 4)) * kVectorBytes);
    code = Isa::merge(code, Isa::rotate_right_lanes(plane, kColumnShifts.plane6 + k % 16), Isa::set_int(0x30));
  }
  return Isa::add_float(Isa::float_of_bits(code), Isa::set_float(-0x1p23f - float(layout.zero)));
}

// Column k of all rows in float32.
template <typename Source>
inline Float float_column(const Source& source, uint32_t k) {
  const uint32_t g = k / uint32_t(Source::kLayout.group());
  const Float code = source.column(k);
  if constexpr (Source::kLayout.has_min()) return Isa::fms(code, source.group_scale(g), source.group_min(g));
  return Isa::mul_float(code, source.group_scale(g));
}

// What the kernel does with group sums: those that fit 16 bits meet their sub-scales two groups an instruction.
template <PackedFormat kFormat>
constexpr bool sums_fit_16_bits() {
  constexpr PackedLayout layout = packed_layout(kFormat);
  if (!layout.nested() || layout.code == CodeKind::lut4 || layout.code == CodeKind::u8) return false;
  constexpr int kLargest = (layout.code == CodeKind::u6 ? 63 : layout.code == CodeKind::u5 ? 31 : 15) - layout.zero;
  return (kLargest > layout.zero ? kLargest : layout.zero) * kMaxCodeSum * (layout.group() / 16) < 1 << 15;
}

// One span of a block as packed_layout.h describes it.
template <PackedFormat kFormat>
struct PackedSpan {
  static constexpr PackedLayout kLayout = packed_layout(kFormat);
  static constexpr bool kUnpacksInRegisters = kLayout.code != CodeKind::u8;

  // At this half of the rows.
  const uint8_t* super;
  const uint8_t* scales;  // s8 sub-scales (nested) or f16 scales
  const uint8_t* mins;
  const uint8_t* codes;

  PackedSpan() = default;
  PackedSpan(const uint8_t* block, int in_block, int half) {
    const uint8_t* span = block + kLayout.span_offset(in_block);
    super = block + half * Isa::kRows * (kLayout.scale == ScaleKind::span_sub5 ? 4 : 2);
    scales = span + half * Isa::kRows * (kLayout.nested() ? 1 : 2);
    mins = span + kLayout.mins_offset() + half * Isa::kRows * (kLayout.nested() ? 4 : 2);
    codes = span + kLayout.codes_offset() + half * Isa::kRows * 4;
  }

  Int quad(int group32, int q) const { return quad_codes<kFormat>(codes, group32, q); }
  Float scale(int g) const { return Isa::load_half(scales + g * kTileRows * 2); }  // flat
  Float min(int g) const { return Isa::load_half(mins + g * kTileRows * 2); }      // flat
  Int sub_scale(int g) const {                                                     // nested
    if constexpr (kLayout.scale != ScaleKind::span_sub5) return Isa::widen_s8(scales + g * kTileRows);
    return Isa::shift_right32(Isa::shift_left32(Isa::load(super), 27 - 5 * g), 27);
  }
  // Sub-scales of groups 2i (low) and 2i + 1 (high) in 16 bits.
  Int sub_scale_pair(int i) const {
    return Isa::merge(Isa::shift_left32(sub_scale(2 * i + 1), 16), sub_scale(2 * i), Isa::set_int(0xffff));
  }
  Float super_scale() const {
    if constexpr (kLayout.scale != ScaleKind::span_sub5) return Isa::load_half(super);
    // Its 5 bits of exponent count from another zero than a float's 8.
    const Int bits = Isa::bit_and(Isa::shift_right32(Isa::load(super), 4), Isa::set_int(0x0fff0000));
    return Isa::mul_float(Isa::float_of_bits(bits), Isa::set_float(kHeadScale * 0x1p112f));
  }
  Float super_min() const { return Isa::load_half(super + kTileRows * 2); }
  // Mins in 16 bits: pair 2i holds those of groups 4i and 4i + 2, pair 2i + 1 of groups 4i + 1 and 4i + 3.
  Int min_pair(int i) const {
    const Int bytes = Isa::load(mins + i / 2 * kVectorBytes);
    return i % 2 == 0 ? Isa::bit_and(bytes, Isa::words(0x00ff)) : Isa::shift_right(bytes, 8);
  }

  // What a code of group g is multiplied by, and what is then taken off.
  Float group_scale(uint32_t g) const {
    if constexpr (!kLayout.nested()) return scale(g);
    if constexpr (kLayout.scale == ScaleKind::span) return super_scale();
    return Isa::mul_float(super_scale(), Isa::to_float(sub_scale(g)));
  }
  Float group_min(uint32_t g) const {
    if constexpr (!kLayout.nested()) return min(g);
    const Int sub_mins = select_byte(Isa::load(mins + g / 4 * kVectorBytes), g);
    return Isa::mul_float(super_min(), Isa::to_float(sub_mins));
  }
  Float column(uint32_t k) const { return packed_column<kFormat>(codes, k); }
};

// The same with what outliers need worked out once for several tokens.
template <PackedFormat kFormat>
struct ScaledSpan : PackedSpan<kFormat> {
  static constexpr PackedLayout kLayout = packed_layout(kFormat);
  static constexpr int kGroups = kLayout.groups_per_span();

  alignas(64) float group_scales[kGroups][Isa::kRows];
  alignas(64) float group_mins[kLayout.has_min() ? kGroups : 1][Isa::kRows];

  ScaledSpan() = default;
  ScaledSpan(const uint8_t* block, int in_block, int half) { unpack(PackedSpan<kFormat>(block, in_block, half)); }

  void unpack(const PackedSpan<kFormat>& from) {
    PackedSpan<kFormat>::operator=(from);
    for (uint32_t g = 0; g < kGroups; ++g) {
      Isa::store_float(group_scales[g], PackedSpan<kFormat>::group_scale(g));
      if constexpr (kLayout.has_min()) Isa::store_float(group_mins[g], PackedSpan<kFormat>::group_min(g));
    }
  }

  Float group_scale(uint32_t g) const { return Isa::load_float(group_scales[g]); }
  Float group_min(uint32_t g) const { return Isa::load_float(group_mins[g]); }
};

// The scales of a span, ready to be loaded: up to 1.5 KiB in 512 bits.
template <PackedFormat kFormat>
struct SpanScales {
  static constexpr PackedLayout kLayout = packed_layout(kFormat);
  static constexpr int kGroups = kLayout.groups_per_span();
  static constexpr bool kPairs = sums_fit_16_bits<kFormat>();

  alignas(64) int32_t sub_scales[kLayout.nested() ? kGroups / (kPairs ? 2 : 1) : 1][Isa::kRows];
  alignas(64) uint8_t min_pairs[kLayout.nested() ? kGroups / 2 : 1][Isa::kRows * 4];
  alignas(64) float super_scales[2][Isa::kRows];  // and the minimum's
  alignas(64) float group_scales[kGroups][Isa::kRows];
  alignas(64) float group_mins[kLayout.has_min() ? kGroups : 1][Isa::kRows];

  void unpack_scales(const PackedSpan<kFormat>& from) {
    for (int g = 0; g < kGroups; ++g) {
      Isa::store_float(group_scales[g], from.group_scale(g));
      if constexpr (kLayout.has_min()) Isa::store_float(group_mins[g], from.group_min(g));
    }
    if constexpr (kLayout.nested()) unpack_nested(from);
  }

  void unpack_nested(const PackedSpan<kFormat>& from) {
    if constexpr (kPairs) {
      for (int i = 0; i < kGroups / 2; ++i) Isa::store(sub_scales[i], from.sub_scale_pair(i));
    } else {
      for (int g = 0; g < kGroups; ++g) Isa::store(sub_scales[g], from.sub_scale(g));
    }
    Isa::store_float(super_scales[0], from.super_scale());
    if constexpr (kLayout.has_min()) {
      for (int i = 0; i < kGroups / 2; ++i) Isa::store(min_pairs[i], from.min_pair(i));
      Isa::store_float(super_scales[1], from.super_min());
    }
  }

  Float scale(int g) const { return Isa::load_float(group_scales[g]); }
  Float min(int g) const { return Isa::load_float(group_mins[g]); }
  Int sub_scale(int g) const { return Isa::load(sub_scales[g]); }
  Int sub_scale_pair(int i) const { return Isa::load(sub_scales[i]); }
  Float super_scale() const { return Isa::load_float(super_scales[0]); }
  Float super_min() const { return Isa::load_float(super_scales[1]); }
  Int min_pair(int i) const { return Isa::load(min_pairs[i]); }
  Float group_scale(uint32_t g) const { return Isa::load_float(group_scales[g]); }
  Float group_min(uint32_t g) const { return Isa::load_float(group_mins[g]); }
};

// A span unpacked to bytes: its codes take 2 KiB in 512 bits.
template <PackedFormat kFormat>
struct PanelSpan : SpanScales<kFormat> {
  static constexpr bool kUnpacksInRegisters = false;

  alignas(64) uint8_t codes[kQuadsPerSpan][Isa::kRows * 4];

  void unpack(const PackedSpan<kFormat>& from) {
#pragma GCC unroll 1
    for (int g = 0; g < 4; ++g) {
#pragma GCC unroll 8
      for (int q = 0; q < 8; ++q) Isa::store(codes[g * 8 + q], from.quad(g, q));
    }
    SpanScales<kFormat>::unpack_scales(from);
  }

  Int quad(int group32, int q) const { return Isa::load(codes[group32 * 8 + q]); }
  Float column(uint32_t k) const { return byte_column(codes[k / 4], k, packed_layout(kFormat).zero); }
};

// Chooses one of two types.
template <bool kFirst, typename First, typename Second>
struct Either {
  using Type = First;
};
template <typename First, typename Second>
struct Either<false, First, Second> {
  using Type = Second;
};

// How T <= Isa::kMaxTokens tokens read packed weights.
template <PackedFormat kFormat, int T>
using SpanOfFew = typename Either<(T <= 2), PackedSpan<kFormat>, ScaledSpan<kFormat>>::Type;

// How many tokens do; codes that are bytes already stay where they are.
template <PackedFormat kFormat>
using SpanOfMany =
    typename Either<packed_layout(kFormat).code == CodeKind::u8, ScaledSpan<kFormat>, PanelSpan<kFormat>>::Type;

}  // namespace
}  // namespace qwin
