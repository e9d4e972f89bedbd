// SPDX-License-Identifier: Apache-2.0
#include "ops/linear_sweep.h"

#include <algorithm>

#include "core/check.h"
#include "quant/dequantize.h"

namespace qwin {

namespace {

// Sums of 16 columns [tokens, 8] become sums of groups [tokens, kGroups]: place(i) is where the i-th goes, times
// factor.
template <size_t kGroups, typename T, typename Place>
void add_groups(const int16_t* sums, size_t tokens, int factor, T* out, Place place) {
  for (size_t i = 0; i < tokens * kGroups; ++i, sums += 8 / kGroups) {
    int sum = 0;
    for (size_t k = 0; k < 8 / kGroups; ++k) sum += sums[k];
    out[place(i)] = static_cast<T>(factor * sum);
  }
}

// What GemmArgs says of a span's tokens: zero_sums, or min_sums where minima have sub-scales.
void write_group_sums(const PackedLayout& layout, const int16_t* sums, size_t tokens, int32_t* zero_sums,
                      int16_t* min_sums) {
  const int groups = layout.groups_per_span(), factor = layout.has_min() ? 1 : -layout.zero;
  const auto in_order = [](size_t i) { return i; };
  const auto for_mins = [](size_t i) { return (i & ~size_t{3}) | (i & 1) << 1 | (i >> 1 & 1); };  // 0, 2, 1, 3
  if (layout.has_min() && layout.nested()) {
    groups == 8 ? add_groups<8>(sums, tokens, 1, min_sums, for_mins)
                : add_groups<4>(sums, tokens, 1, min_sums, for_mins);
  } else if (groups == 8) {
    add_groups<8>(sums, tokens, factor, zero_sums, in_order);
  } else if (groups == 4) {
    add_groups<4>(sums, tokens, factor, zero_sums, in_order);
  } else {
    add_groups<1>(sums, tokens, factor, zero_sums, in_order);
  }
}

}  // namespace

LinearSweep::LinearSweep(OpsContext& context, const LinearInput& input, LinearScratch& scratch,
                         std::span<const LinearPart> parts)
    : context_(context), input_(input), scratch_(scratch), parts_(parts) {
  for (const LinearPart& part : parts) {
    QWIN_CHECK(part.weight->stored.columns == input.values().columns);
    QWIN_CHECK(part.out.columns == part.weight->stored.rows && part.out.rows <= input.values().rows &&
               part.out.rows == parts[0].out.rows);
  }
  if (context.float32()) return;
  QWIN_CHECK(parts.size() <= scratch.zero_sums_.size());
  for (size_t i = 0; i < parts.size(); ++i) fill_sums(i);
}

void LinearSweep::run_all() const {
  const size_t tokens = parts_[0].out.rows, token_block = this->token_block();
  size_t tiles = 0;
  for (size_t i = 0; i < parts_.size(); ++i) tiles += num_tiles(i);
  const size_t token_blocks = (tokens + token_block - 1) / token_block;

  context_.team.for_each(tiles * token_blocks, kPanelTiles, [&](size_t begin, size_t end, int member) {
    while (begin < end) {
      const size_t tile = begin % tiles, stop = std::min(tile + end - begin, tiles);
      const size_t first = begin / tiles * token_block;
      run_parts(tile, stop, first, std::min(token_block, tokens - first), member);
      begin += stop - tile;
    }
  });
}

// Tiles counted through all parts.
void LinearSweep::run_parts(size_t tile, size_t stop, size_t first, size_t count, int member) const {
  for (size_t i = 0, offset = 0; tile < stop; offset += num_tiles(i++)) {
    const size_t end_of_part = std::min(offset + num_tiles(i), stop);
    if (tile >= end_of_part) continue;
    run(i, tile - offset, end_of_part - offset, first, count, member);
    tile = end_of_part;
  }
}

void LinearSweep::run(size_t part_index, size_t tile_begin, size_t tile_end, size_t first, size_t count,
                      int member) const {
  if (context_.float32()) return run_float32(parts_[part_index], tile_begin, tile_end, first, count, member);
  const LinearPart& part = parts_[part_index];
  GemmArgs args = gemm_args(part_index, tile_begin, first, count);
  const size_t row = tile_begin * kTileRows;
  if (part.bias != nullptr) args.bias = part.bias + row;
  if (part.residual != nullptr) args.residual = part.residual + first * part.out.stride + row;
  args.out = part.out.row(first) + row;
  args.out_stride = part.out.stride;
  args.scratch = context_.member_scratch(member, gemm_scratch_floats(count));
  context_.kernels.gemm_tiles[static_cast<int>(part.weight->format)](args, 0, tile_end - tile_begin);
}

void LinearSweep::run_into(const Matrix& out, size_t part_index, size_t tile_begin, size_t tile_end, size_t first,
                           float* scratch) const {
  GemmArgs args = gemm_args(part_index, tile_begin, first, out.rows);
  args.out = out.data;
  args.out_stride = out.stride;
  args.scratch = scratch;
  context_.kernels.gemm_tiles[static_cast<int>(parts_[part_index].weight->format)](args, 0, tile_end - tile_begin);
}

size_t LinearSweep::token_block() const {
  return context_.float32() ? std::max<size_t>(1, input_.values().rows) : kTokenBlock;
}

size_t LinearSweep::sums_of(size_t part_index) const {
  const PackedFormat format = parts_[part_index].weight->format;
  return static_cast<size_t>(
      std::ranges::find_if(parts_, [&](const LinearPart& part) { return part.weight->format == format; }) -
      parts_.begin());
}

void LinearSweep::fill_sums(size_t part_index) {
  const PackedLayout layout = packed_layout(parts_[part_index].weight->format);
  if ((layout.zero == 0 && !layout.has_min()) || sums_of(part_index) != part_index) return;
  const size_t tokens = input_.values().rows, groups = static_cast<size_t>(layout.groups_per_span());
  const QuantizedRows x = input_.rows();
  context_.team.for_each(input_.num_spans(), std::max<size_t>(1, 4096 / tokens), [&](size_t begin, size_t end, int) {
    for (size_t span = begin; span < end; ++span) {
      const size_t at = span * x.token_stride;
      write_group_sums(layout, x.sums + at * 8, tokens, scratch_.zero_sums_[part_index].as<int32_t>() + at * groups,
                       scratch_.min_sums_[part_index].as<int16_t>() + at * groups);
    }
  });
}

GemmArgs LinearSweep::gemm_args(size_t part_index, size_t first_tile, size_t first, size_t count) const {
  const PackedWeight& w = *parts_[part_index].weight;
  const auto groups = static_cast<size_t>(packed_layout(w.format).groups_per_span());
  return {
      .weights = w.tiles + first_tile * w.tile_bytes,
      .tile_bytes = w.tile_bytes,
      .num_spans = static_cast<int>(input_.num_spans()),
      .num_tokens = static_cast<int>(count),
      .x = input_.rows(first),
      .zero_sums = scratch_.zero_sums_[sums_of(part_index)].as<int32_t>() + first * groups,
      .min_sums = scratch_.min_sums_[sums_of(part_index)].as<int16_t>() + first * groups,
      .bias = nullptr,
      .residual = nullptr,
      .out = nullptr,
      .out_stride = 0,
      .num_rows = static_cast<int>(w.stored.rows - first_tile * kTileRows),
      .scratch = nullptr,
  };
}

// Sixteen rows are widened at a time and then meet every token.
void LinearSweep::run_float32(const LinearPart& part, size_t tile_begin, size_t tile_end, size_t first, size_t count,
                              int member) const {
  const StoredMatrix& stored = part.weight->stored;
  float* rows = context_.member_scratch(member, kTileRows * stored.columns);
  for (size_t row = tile_begin * kTileRows; row < std::min(tile_end * kTileRows, stored.rows); row += kTileRows) {
    const size_t num_rows = std::min<size_t>(kTileRows, stored.rows - row);
    dequantize(stored.dtype, stored.data + row * stored.row_bytes(), num_rows * stored.columns, rows);
    context_.kernels.gemm_f32({
        .w = rows,
        .x = input_.values().row(first),
        .x_stride = input_.values().stride,
        .k = stored.columns,
        .num_rows = static_cast<int>(num_rows),
        .num_tokens = static_cast<int>(count),
        .bias = part.bias != nullptr ? part.bias + row : nullptr,
        .residual = part.residual != nullptr ? part.residual + first * part.out.stride + row : nullptr,
        .out = part.out.row(first) + row,
        .out_stride = part.out.stride,
    });
  }
}

}  // namespace qwin
