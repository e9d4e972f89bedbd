// SPDX-License-Identifier: Apache-2.0
#include "ops/packed_weight.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <type_traits>
#include <vector>

#include "ops/pack_direct.h"
#include "quant/decode.h"
#include "quant/dequantize.h"
#include "quant/quantize.h"
#include "quant/quantize_spans.h"

namespace qwin {

namespace {

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

PackedFormat packed_format(DType type) {
  switch (type) {
    case DType::q4_0: return PackedFormat::q4_0;
    case DType::q4_1: return PackedFormat::q4_1;
    case DType::q5_0: return PackedFormat::q5_0;
    case DType::q5_1: return PackedFormat::q5_1;
    case DType::q2_k: return PackedFormat::q2_k;
    case DType::q3_k: return PackedFormat::q3_k;
    case DType::q4_k: return PackedFormat::q4_k;
    case DType::q5_k: return PackedFormat::q5_k;
    case DType::q6_k: return PackedFormat::q6_k;
    case DType::iq4_nl: return PackedFormat::iq4_nl;
    case DType::iq4_xs: return PackedFormat::iq4_xs;
    case DType::q3:
    case DType::q4: return PackedFormat::q4;
    case DType::q5: return PackedFormat::q5;
    case DType::q6: return PackedFormat::q6;
    case DType::q8: return PackedFormat::q8;
    case DType::q8_0:
    case DType::f32:
    case DType::f16:
    case DType::bf16: break;
  }
  return PackedFormat::q8_0;
}

size_t spans_of(const StoredMatrix& stored, PackedFormat format) {
  const PackedLayout layout = packed_layout(format);
  return round_up(round_up(stored.columns, kSpan) / kSpan, static_cast<size_t>(layout.spans_per_block()));
}

uint32_t quad_at(const uint8_t* quants, int quad) { return load_word<uint32_t>(quants + 4 * quad); }

// Writes 32 codes of one row: group `g` of the span whose codes start at `codes`. Four bytes at a time; a template, so
// that the choice is made once a weight.
template <PackedFormat kFormat>
inline void put_group(uint8_t* codes, int row, int g, const uint8_t* quants) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  constexpr CodeKind kKind = layout.code;
  if constexpr (kKind == CodeKind::u8) {
    for (int quad = 0; quad < 8; ++quad) put_quad(codes, g * 8 + quad, row, quad_at(quants, quad));
    return;
  }
  constexpr uint32_t kLow = 0x0f0f0f0f;
  for (int pair = 0; pair < 4; ++pair) {
    put_quad(codes, layout.nibbles_at(g * 4 + pair), row,
             (quad_at(quants, 2 * pair) & kLow) | (quad_at(quants, 2 * pair + 1) & kLow) << 4);
  }
  if constexpr (kKind == CodeKind::u5) {
    uint32_t bits = 0;
    for (int quad = 0; quad < 8; ++quad) bits |= (quad_at(quants, quad) >> 4 & 0x01010101) << quad;
    put_quad(codes, layout.plane_at(g), row, bits);
  } else if constexpr (kKind == CodeKind::u6) {
    for (int half = 0; half < 2; ++half) {
      uint32_t bits = 0;
      for (int quad = 0; quad < 4; ++quad) bits |= (quad_at(quants, 4 * half + quad) >> 4 & 0x03030303) << (2 * quad);
      put_quad(codes, layout.plane_at(g * 2 + half), row, bits);
    }
  }
}

// One flat file block: 32 columns, group `g` of the span.
template <PackedFormat kFormat>
inline void put_flat_block(const CodeBlock& source, int row, int g, uint8_t* block) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  put_group<kFormat>(block + layout.codes_offset(), row, g, source.quants);
  put_half(block, g * kTileRows + row, source.d_bits);
  if constexpr (layout.has_min()) put_half(block + layout.mins_offset(), g * kTileRows + row, source.dmin_bits);
}

// One nested file block: 256 columns, two spans.
template <PackedFormat kFormat>
inline void put_nested_block(const CodeBlock& source, int row, uint8_t* block) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  constexpr int groups = layout.groups_per_span();
  for (int span = 0; span < 2; ++span) {
    uint8_t* sub = block + layout.span_offset(span);
    uint8_t *mins = sub + layout.mins_offset(), *codes = sub + layout.codes_offset();
    for (int g = 0; g < 4; ++g) put_group<kFormat>(codes, row, g, source.quants + span * kSpan + g * 32);
    for (int g = 0; g < groups; ++g) {
      sub[g * kTileRows + row] = static_cast<uint8_t>(source.sub_scales[span * groups + g]);
      if (layout.has_min())
        mins[(g / 4 * kTileRows + row) * 4 + g % 4] = static_cast<uint8_t>(source.sub_mins[span * groups + g]);
    }
  }
  put_half(block, row, source.d_bits);
  if (layout.has_min()) put_half(block, kTileRows + row, source.dmin_bits);
}

// One span block of the file: 128 columns.
template <PackedFormat kFormat>
inline void put_span_block(const CodeBlock& source, int row, uint8_t* block) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  uint8_t* codes = block + layout.span_offset(0) + layout.codes_offset();
  for (int g = 0; g < 4; ++g) put_group<kFormat>(codes, row, g, source.quants + g * 32);
  if constexpr (layout.scale == ScaleKind::span) return put_half(block, row, source.d_bits);
  static_assert(kHeadScale == kHeadUnit);
  uint32_t head = static_cast<uint32_t>(source.d_bits) >> 3 << 20;
  for (int g = 0; g < 4; ++g) head |= (static_cast<uint32_t>(source.sub_scales[g]) & 31) << (5 * g);
  put_quad(block, 0, row, head);
}

// One row as blocks of another type, zeros after the last column.
void quantize_stored_row(const StoredMatrix& stored, size_t row, DType type, std::vector<float>& floats,
                         std::vector<std::byte>& blocks) {
  const size_t padded = round_up(stored.columns, dtype_info(type).block_elements);
  floats.assign(padded, 0.0f);
  blocks.resize(row_bytes(type, padded));
  dequantize(stored.dtype, stored.data + row * stored.row_bytes(), stored.columns, floats.data());
  if (type == DType::q8_0) return quantize_q8_0(floats.data(), padded, blocks.data());
  quantize_spans(type, floats.data(), padded, 32, blocks.data());
}

using PackRowFn = void (*)(UnpackBlockFn unpack, const std::byte* blocks, size_t num_blocks, size_t block_bytes,
                           int row, uint8_t* tile);

template <PackedFormat kFormat>
void pack_row(UnpackBlockFn unpack, const std::byte* blocks, size_t num_blocks, size_t block_bytes, int row,
              uint8_t* tile) {
  using Direct = typename DirectBlock<kFormat>::Type;
  constexpr PackedLayout layout = packed_layout(kFormat);
  CodeBlock codes;
  for (size_t i = 0; i < num_blocks; ++i) {
    const std::byte* source = blocks + i * block_bytes;
    uint8_t* nested = tile + i * layout.block_bytes();
    uint8_t* flat = tile + i / 4 * layout.block_bytes();
    const int group = static_cast<int>(i % 4);
    if constexpr (std::is_void_v<Direct>) {
      unpack(source, &codes);
      if constexpr (layout.of_span()) {
        put_span_block<kFormat>(codes, row, nested);
      } else if constexpr (layout.nested()) {
        put_nested_block<kFormat>(codes, row, nested);
      } else {
        put_flat_block<kFormat>(codes, row, group, flat);
      }
    } else if constexpr (layout.nested()) {
      put_direct(load_word<Direct>(source), row, nested);
    } else {
      put_direct(load_word<Direct>(source), row, group, flat);
    }
  }
}

constexpr PackRowFn kPackRow[] = {
    pack_row<PackedFormat::q4_0>, pack_row<PackedFormat::q4_1>,   pack_row<PackedFormat::q5_0>,
    pack_row<PackedFormat::q5_1>, pack_row<PackedFormat::q8_0>,   pack_row<PackedFormat::q2_k>,
    pack_row<PackedFormat::q3_k>, pack_row<PackedFormat::q4_k>,   pack_row<PackedFormat::q5_k>,
    pack_row<PackedFormat::q6_k>, pack_row<PackedFormat::iq4_nl>, pack_row<PackedFormat::iq4_xs>,
    pack_row<PackedFormat::q4>,   pack_row<PackedFormat::q5>,     pack_row<PackedFormat::q6>,
    pack_row<PackedFormat::q8>,
};
static_assert(std::size(kPackRow) == kNumPackedFormats);

class TilePacker {
 public:
  TilePacker(const StoredMatrix& stored, DType type)
      : stored_(stored),
        type_(type),
        unpack_(unpack_block(type)),
        pack_row_(kPackRow[static_cast<int>(packed_format(type))]) {}

  void pack(size_t tile, uint8_t* destination) {
    const DTypeInfo& info = dtype_info(type_);
    const size_t num_blocks = round_up(stored_.columns, info.block_elements) / info.block_elements;
    const size_t last = std::min<size_t>((tile + 1) * kTileRows, stored_.rows);
    for (size_t row = tile * kTileRows; row < last; ++row) {
      const std::byte* blocks = stored_.data + row * stored_.row_bytes();
      if (stored_.dtype != type_) {
        quantize_stored_row(stored_, row, type_, floats_, quantized_);
        blocks = quantized_.data();
      }
      pack_row_(unpack_, blocks, num_blocks, info.block_bytes, static_cast<int>(row % kTileRows), destination);
    }
  }

 private:
  const StoredMatrix& stored_;
  const DType type_;
  const UnpackBlockFn unpack_;
  const PackRowFn pack_row_;
  std::vector<float> floats_;
  std::vector<std::byte> quantized_;
};

}  // namespace

DType packed_type(DType stored) { return code_format(stored) == nullptr ? DType::q8_0 : stored; }

size_t packed_weight_bytes(const StoredMatrix& stored, DType type) {
  const PackedFormat format = packed_format(type);
  const PackedLayout layout = packed_layout(format);
  const size_t tiles = round_up(stored.rows, kTileRows) / kTileRows;
  return tiles * (spans_of(stored, format) / static_cast<size_t>(layout.spans_per_block())) * layout.block_bytes();
}

PackedWeight pack_weight(ThreadTeam& team, const StoredMatrix& stored, DType type, std::byte* destination) {
  PackedWeight weight;
  weight.stored = stored;
  weight.format = packed_format(type);
  weight.tiles = destination;
  weight.num_tiles = round_up(stored.rows, kTileRows) / kTileRows;
  weight.tile_bytes = packed_weight_bytes(stored, type) / weight.num_tiles;
  weight.num_spans = static_cast<int>(spans_of(stored, weight.format));

  std::mutex mutex;
  std::exception_ptr failure;
  team.for_each(weight.num_tiles, 8, [&](size_t begin, size_t end, int) {
    try {
      TilePacker packer(stored, type);
      for (size_t tile = begin; tile < end; ++tile) {
        packer.pack(tile, reinterpret_cast<uint8_t*>(destination) + tile * weight.tile_bytes);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
  return weight;
}

}  // namespace qwin
