// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.h"

#include <algorithm>
#include <array>

#include "core/check.h"
#include "ops/elementwise.h"
#include "quant/dequantize.h"

namespace qwin {

namespace {

// Tokens whose codes stay in the L2 cache while a member sweeps its tiles over them.
constexpr size_t kTokenBlock = 64;

size_t spans_of(size_t columns) { return (columns + kSpan - 1) / kSpan; }

}  // namespace

LinearInput::LinearInput(size_t max_tokens, size_t max_columns) : max_columns_(max_columns) {
  const size_t spans = spans_of(max_columns);
  codes_ = Buffer(max_tokens * (spans * kSpan + 64));
  scales_ = Buffer(max_tokens * spans * sizeof(float));
  outliers_ = Buffer(max_tokens * spans * sizeof(int32_t));
  outlier_quads_ = Buffer(max_tokens * spans);
  sums_ = Buffer(max_tokens * spans * 8 * sizeof(int16_t));
  rows_ = {codes_.as<int8_t>(), scales_.as<float>(), outliers_.as<int32_t>(), outlier_quads_.as<uint8_t>(),
           sums_.as<int16_t>()};
}

void LinearInput::set(OpsContext& context, const Matrix& x) {
  begin(x);
  if (context.float32()) return;
  context.team.for_each(x.rows, token_grain(), [&](size_t first, size_t last, int) {
    for (size_t t = first; t < last; ++t) quantize(context, t);
  });
}

void LinearInput::set_with_remainder(OpsContext& context, const Matrix& x) {
  if (context.float32()) return set(context, x);
  if (remainder_.size() < 2 * x.rows * x.columns * sizeof(float)) {
    remainder_ = Buffer(2 * x.rows * x.columns * sizeof(float));
  }
  const Matrix both{remainder_.as<float>(), 2 * x.rows, x.columns, x.columns};
  begin(both);
  context.team.for_each(x.rows, token_grain(), [&](size_t first, size_t last, int) {
    for (size_t t = first; t < last; ++t) {
      std::copy_n(x.row(t), x.columns, both.row(t));
      quantize(context, t);
      subtract_codes(t, both.row(t), both.row(x.rows + t));
      quantize(context, x.rows + t);
    }
  });
}

void LinearInput::begin(const Matrix& x) {
  values_ = x;
  num_spans_ = spans_of(x.columns);
  // 64 bytes apart from a multiple of 4096, so that eight tokens do not share one set of the L1 cache.
  code_stride_ = num_spans_ * kSpan + 64;
  QWIN_CHECK(x.columns <= max_columns_ && x.rows * code_stride_ <= codes_.size());
}

size_t LinearInput::token_grain() const { return std::max<size_t>(1, 8192 / values_.columns); }

void LinearInput::quantize(OpsContext& context, size_t t) {
  const size_t first = t * num_spans_;
  context.kernels.quantize_row(values_.row(t), values_.columns,
                               {rows_.codes + t * code_stride_, rows_.scales + first, rows_.outliers + first,
                                rows_.outlier_quads + first, rows_.sums + first * 8});
}

void LinearInput::subtract_codes(size_t t, const float* x, float* left) const {
  const int8_t* codes = rows_.codes + t * code_stride_;
  for (size_t span = 0; span < num_spans_; ++span) {
    const float scale = rows_.scales[t * num_spans_ + span];
    const size_t begin = span * kSpan, end = std::min(begin + kSpan, values_.columns);
    for (size_t k = begin; k < end; ++k) left[k] = x[k] - scale * static_cast<float>(codes[k]);
    // The outlier's high digit, in the byte of its place.
    const uint32_t word = static_cast<uint32_t>(rows_.outliers[t * num_spans_ + span]);
    for (size_t byte = 0; byte < 4; ++byte) {
      const size_t k = begin + size_t{rows_.outlier_quads[t * num_spans_ + span]} * 4 + byte;
      if (k < end) left[k] -= scale * 256.0f * static_cast<float>(static_cast<int8_t>(word >> (8 * byte)));
    }
  }
}

LinearScratch::LinearScratch(size_t max_tokens, size_t max_columns, size_t max_parts) {
  const size_t groups = max_tokens * spans_of(max_columns) * 8;
  for (size_t i = 0; i < max_parts; ++i) {
    zero_sums_.emplace_back(groups * sizeof(int32_t));
    min_sums_.emplace_back(groups * sizeof(int16_t));
  }
}

// One pass of the team over all tiles of all parts.
class LinearSweep {
 public:
  LinearSweep(OpsContext& context, const LinearInput& input, LinearScratch& scratch, std::span<const LinearPart> parts)
      : context_(context), input_(input), scratch_(scratch), parts_(parts) {
    for (const LinearPart& part : parts) {
      QWIN_CHECK(part.weight->stored.columns == input.values().columns);
      QWIN_CHECK(part.out.columns == part.weight->stored.rows && part.out.rows == input.values().rows);
    }
    if (context.float32()) return;
    QWIN_CHECK(parts.size() <= scratch.zero_sums_.size());
    for (size_t i = 0; i < parts.size(); ++i) fill_sums(i);
  }

  // Tiles [begin, end) of a part for tokens [first, first + count).
  void run(size_t part_index, size_t tile_begin, size_t tile_end, size_t first, size_t count, int member) const {
    if (context_.float32()) return run_float32(parts_[part_index], tile_begin, tile_end, first, count, member);
    const LinearPart& part = parts_[part_index];
    const PackedWeight& w = *part.weight;
    const PackedLayout layout = packed_layout(w.format);
    const size_t spans = input_.num_spans(), groups = spans * static_cast<size_t>(layout.groups_per_span());
    const QuantizedRows& x = input_.rows();
    const GemmArgs args{
        .weights = w.tiles,
        .tile_bytes = w.tile_bytes,
        .num_spans = static_cast<int>(spans),
        .num_tokens = static_cast<int>(count),
        .x = {x.codes + first * input_.code_stride(), x.scales + first * spans, x.outliers + first * spans,
              x.outlier_quads + first * spans, x.sums + first * spans * 8},
        .code_stride = input_.code_stride(),
        .zero_sums = scratch_.zero_sums_[part_index].as<int32_t>() + first * groups,
        .min_sums = scratch_.min_sums_[part_index].as<int16_t>() + first * groups,
        .bias = part.bias,
        .residual = part.residual != nullptr ? part.residual + first * part.out.stride : nullptr,
        .out = part.out.row(first),
        .out_stride = part.out.stride,
        .num_rows = static_cast<int>(w.stored.rows),
    };
    context_.kernels.gemm_tiles[static_cast<int>(w.format)](args, tile_begin, tile_end);
  }

  size_t token_block() const { return context_.float32() ? std::max<size_t>(1, input_.values().rows) : kTokenBlock; }
  size_t num_tiles(size_t part) const { return (parts_[part].weight->stored.rows + kTileRows - 1) / kTileRows; }

 private:
  void fill_sums(size_t part_index) {
    const PackedLayout layout = packed_layout(parts_[part_index].weight->format);
    if (layout.zero == 0 && !layout.has_min()) return;
    const size_t spans = input_.num_spans(), groups = static_cast<size_t>(layout.groups_per_span());
    const int16_t* sums16 = input_.rows().sums;
    int32_t* zero_sums = scratch_.zero_sums_[part_index].as<int32_t>();
    int16_t* min_sums = scratch_.min_sums_[part_index].as<int16_t>();
    const int factor = layout.has_min() ? 1 : -layout.zero;
    context_.team.for_each(input_.values().rows * spans, 4096, [&](size_t begin, size_t end, int) {
      static constexpr int kOrder[4] = {0, 2, 1, 3};
      for (size_t span = begin; span < end; ++span) {
        for (size_t g = 0; g < groups; ++g) {
          const int sum = groups == 8 ? sums16[span * 8 + g] : sums16[span * 8 + 2 * g] + sums16[span * 8 + 2 * g + 1];
          zero_sums[span * groups + g] = factor * sum;
          min_sums[span * groups + g / 4 * 4 + kOrder[g % 4]] = static_cast<int16_t>(sum);
        }
      }
    });
  }

  // Sixteen rows are widened at a time and then meet every token.
  void run_float32(const LinearPart& part, size_t tile_begin, size_t tile_end, size_t first, size_t count,
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

  OpsContext& context_;
  const LinearInput& input_;
  LinearScratch& scratch_;
  std::span<const LinearPart> parts_;
};

namespace {

// Tiles a member takes at a time: few enough that members end together, enough to hide the counter.
size_t tile_grain(size_t num_tiles, int num_threads) {
  return std::clamp<size_t>(num_tiles / (static_cast<size_t>(num_threads) * 8), 1, 16);
}

}  // namespace

void linear(OpsContext& context, const LinearInput& input, LinearScratch& scratch, std::span<const LinearPart> parts) {
  const LinearSweep sweep(context, input, scratch, parts);
  const size_t tokens = input.values().rows, token_block = sweep.token_block();
  size_t total_tiles = 0;
  for (size_t i = 0; i < parts.size(); ++i) total_tiles += sweep.num_tiles(i);
  const size_t grain = tile_grain(total_tiles, context.team.size());
  const size_t pieces = (total_tiles + grain - 1) / grain;
  const size_t token_blocks = (tokens + token_block - 1) / token_block;

  context.team.for_each(pieces * token_blocks, 1, [&](size_t begin, size_t end, int member) {
    for (size_t item = begin; item < end; ++item) {
      const size_t first = item / pieces * token_block, count = std::min(token_block, tokens - first);
      size_t tile = item % pieces * grain, last = std::min(tile + grain, total_tiles);
      for (size_t i = 0, offset = 0; i < parts.size() && tile < last; offset += sweep.num_tiles(i++)) {
        const size_t end_of_part = offset + sweep.num_tiles(i);
        if (tile >= end_of_part) continue;
        const size_t stop = std::min(last, end_of_part);
        sweep.run(i, tile - offset, stop - offset, first, count, member);
        tile = stop;
      }
    }
  });
}

void gate_up(OpsContext& context, const LinearInput& input, LinearScratch& scratch, const PackedWeight& gate,
             const PackedWeight& up, const Matrix& out, const Matrix& up_out) {
  const LinearPart parts[] = {{.weight = &gate, .out = out}, {.weight = &up, .out = up_out}};
  const LinearSweep sweep(context, input, scratch, parts);
  const size_t tokens = input.values().rows, token_block = sweep.token_block(), tiles = sweep.num_tiles(0);
  const size_t grain = tile_grain(tiles, context.team.size());
  const size_t pieces = (tiles + grain - 1) / grain;
  const size_t token_blocks = (tokens + token_block - 1) / token_block;

  context.team.for_each(pieces * token_blocks, 1, [&](size_t begin, size_t end, int member) {
    for (size_t item = begin; item < end; ++item) {
      const size_t first = item / pieces * token_block, count = std::min(token_block, tokens - first);
      const size_t tile = item % pieces * grain, last = std::min(tile + grain, tiles);
      sweep.run(0, tile, last, first, count, member);
      sweep.run(1, tile, last, first, count, member);
      const size_t column = tile * kTileRows, columns = std::min(last * kTileRows, out.columns) - column;
      for (size_t t = first; t < first + count; ++t) {
        context.kernels.silu_mul(out.row(t) + column, up_out.row(t) + column, columns, out.row(t) + column);
      }
    }
  });
}

void linear_with_remainder(OpsContext& context, LinearInput& input, LinearScratch& scratch, const Matrix& x,
                           std::span<const LinearPart> parts) {
  input.set_with_remainder(context, x);
  std::array<LinearPart, kMaxLinearParts> wide;
  QWIN_CHECK(parts.size() <= wide.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    wide[i] = {.weight = parts[i].weight, .out = parts[i].out.first_rows(input.values().rows)};
  }
  linear(context, input, scratch, {wide.data(), parts.size()});
  context.team.for_each(x.rows, input.token_grain(), [&](size_t first, size_t last, int) {
    for (const LinearPart& part : parts) {
      for (size_t t = first; t < last; ++t) {
        if (!context.float32()) add_row(part.out.row(x.rows + t), part.out.columns, part.out.row(t));
        if (part.bias != nullptr) add_row(part.bias, part.out.columns, part.out.row(t));
      }
    }
  });
}

}  // namespace qwin
