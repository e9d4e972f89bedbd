// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.h"

#include <algorithm>
#include <array>

#include "core/check.h"
#include "ops/elementwise.h"
#include "quant/dequantize.h"

namespace qwin {

namespace {

// Tokens that meet a panel of weights, unpacked once for all of them.
constexpr size_t kTokenBlock = 256;

size_t spans_of(size_t columns) { return (columns + kSpan - 1) / kSpan; }

// Rows from one span to the next: one, or an odd number of KiB, so that the spans of a panel lie in different sets of
// the L1 cache.
size_t token_stride_of(size_t rows) { return rows <= 8 ? rows : (rows + 7) / 8 * 8 | 8; }

}  // namespace

LinearInput::LinearInput(size_t max_tokens, size_t max_columns) : max_tokens_(max_tokens), max_columns_(max_columns) {
  const size_t rows = token_stride_of(max_tokens) * spans_of(max_columns);
  const size_t blocks = (spans_of(max_columns) + kBlockSpans - 1) / kBlockSpans;
  codes_ = Buffer(rows * kSpan);
  scales_ = Buffer(rows * sizeof(float));
  sums_ = Buffer(rows * 8 * sizeof(int16_t));
  outliers_ = Buffer(rows * sizeof(Outlier));
  extra_counts_ = Buffer(token_stride_of(max_tokens) * blocks * kBlockSpans);
  extras_ = Buffer(rows * kMaxExtras * sizeof(Outlier));
}

QuantizedRows LinearInput::rows(size_t first) const {
  return {.codes = codes_.as<int8_t>() + first * kSpan,
          .scales = scales_.as<float>() + first,
          .sums = sums_.as<int16_t>() + first * 8,
          .outliers = outliers_.as<Outlier>() + first,
          .extra_counts = extra_counts_.as<uint8_t>() + first * kBlockSpans,
          .extras = extras_.as<Outlier>() + first * kMaxExtras,
          .token_stride = token_stride_};
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
  QWIN_CHECK(x.columns <= max_columns_ && x.rows <= max_tokens_);
  values_ = x;
  num_spans_ = spans_of(x.columns);
  token_stride_ = token_stride_of(x.rows);
}

void LinearInput::begin_spans(size_t num_tokens, size_t columns) { begin({nullptr, num_tokens, columns, columns}); }

size_t LinearInput::token_grain() const { return std::max<size_t>(1, 8192 / values_.columns); }

void LinearInput::quantize(OpsContext& context, size_t t) {
  context.kernels.quantize_row(values_.row(t), values_.columns, rows(t));
}

void LinearInput::quantize_span(OpsContext& context, const Matrix& x, size_t first, size_t span) {
  QuantizedRows to = rows(first);
  to.codes += span * token_stride_ * kSpan;
  to.scales += span * token_stride_;
  to.sums += span * token_stride_ * 8;
  to.outliers += span * token_stride_;
  to.extra_counts += span / kBlockSpans * token_stride_ * kBlockSpans + span % kBlockSpans;
  to.extras += span * token_stride_ * kMaxExtras;
  for (size_t t = 0; t < x.rows; ++t) {
    context.kernels.quantize_row(x.row(t), x.columns, to);
    to.codes += kSpan, to.scales += 1, to.sums += 8;
    to.outliers += 1, to.extra_counts += kBlockSpans, to.extras += kMaxExtras;
  }
}

void LinearInput::subtract_codes(size_t t, const float* x, float* left) const {
  const QuantizedRows row = rows(t);
  for (size_t span = 0; span < num_spans_; ++span) {
    const size_t at = span * token_stride_;
    const size_t begin = span * kSpan, end = std::min(begin + kSpan, values_.columns);
    for (size_t k = begin; k < end; ++k)
      left[k] = x[k] - row.scales[at] * static_cast<float>(row.codes[at * kSpan + k - begin]);
    left[begin + row.outliers[at].column] = 0;
    const size_t count = row.extra_counts[span / kBlockSpans * token_stride_ * kBlockSpans + span % kBlockSpans];
    for (size_t i = 0; i < count; ++i) left[begin + row.extras[at * kMaxExtras + i].column] = 0;
  }
}

LinearScratch::LinearScratch(size_t max_tokens, size_t max_columns, size_t max_parts) {
  const size_t groups = token_stride_of(max_tokens) * spans_of(max_columns) * 8;
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
    GemmArgs args = gemm_args(part_index, tile_begin, first, count);
    const size_t row = tile_begin * kTileRows;
    if (part.bias != nullptr) args.bias = part.bias + row;
    if (part.residual != nullptr) args.residual = part.residual + first * part.out.stride + row;
    args.out = part.out.row(first) + row;
    args.out_stride = part.out.stride;
    args.scratch = context_.member_scratch(member, gemm_scratch_floats(count));
    context_.kernels.gemm_tiles[static_cast<int>(part.weight->format)](args, 0, tile_end - tile_begin);
  }

  // The same without bias and residual; column 0 of `out` [count, …] is the first row of tile_begin.
  void run_into(const Matrix& out, size_t part_index, size_t tile_begin, size_t tile_end, size_t first,
                float* scratch) const {
    GemmArgs args = gemm_args(part_index, tile_begin, first, out.rows);
    args.out = out.data;
    args.out_stride = out.stride;
    args.scratch = scratch;
    context_.kernels.gemm_tiles[static_cast<int>(parts_[part_index].weight->format)](args, 0, tile_end - tile_begin);
  }

  size_t token_block() const { return context_.float32() ? std::max<size_t>(1, input_.values().rows) : kTokenBlock; }
  size_t num_tiles(size_t part) const { return (parts_[part].weight->stored.rows + kTileRows - 1) / kTileRows; }

 private:
  void fill_sums(size_t part_index) {
    const PackedLayout layout = packed_layout(parts_[part_index].weight->format);
    if (layout.zero == 0 && !layout.has_min()) return;
    const size_t tokens = input_.values().rows, groups = static_cast<size_t>(layout.groups_per_span());
    const QuantizedRows x = input_.rows();
    int32_t* zero_sums = scratch_.zero_sums_[part_index].as<int32_t>();
    int16_t* min_sums = scratch_.min_sums_[part_index].as<int16_t>();
    const int factor = layout.has_min() ? 1 : -layout.zero;
    context_.team.for_each(input_.num_spans(), std::max<size_t>(1, 4096 / tokens), [&](size_t begin, size_t end, int) {
      static constexpr int kOrder[4] = {0, 2, 1, 3};
      for (size_t span = begin; span < end; ++span) {
        for (size_t at = span * x.token_stride; at < span * x.token_stride + tokens; ++at) {
          const int16_t* sums = x.sums + at * 8;
          for (size_t g = 0; g < groups; ++g) {
            const int sum = groups == 8 ? sums[g] : sums[2 * g] + sums[2 * g + 1];
            zero_sums[at * groups + g] = factor * sum;
            min_sums[at * groups + g / 4 * 4 + kOrder[g % 4]] = static_cast<int16_t>(sum);
          }
        }
      }
    });
  }

  // Everything but where the result goes, for tiles counted from `first_tile` and tokens from `first`.
  GemmArgs gemm_args(size_t part_index, size_t first_tile, size_t first, size_t count) const {
    const PackedWeight& w = *parts_[part_index].weight;
    const auto groups = static_cast<size_t>(packed_layout(w.format).groups_per_span());
    return {
        .weights = w.tiles + first_tile * w.tile_bytes,
        .tile_bytes = w.tile_bytes,
        .num_spans = static_cast<int>(input_.num_spans()),
        .num_tokens = static_cast<int>(count),
        .x = input_.rows(first),
        .zero_sums = scratch_.zero_sums_[part_index].as<int32_t>() + first * groups,
        .min_sums = scratch_.min_sums_[part_index].as<int16_t>() + first * groups,
        .bias = nullptr,
        .residual = nullptr,
        .out = nullptr,
        .out_stride = 0,
        .num_rows = static_cast<int>(w.stored.rows - first_tile * kTileRows),
        .scratch = nullptr,
    };
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
  return std::clamp<size_t>(num_tiles / (static_cast<size_t>(num_threads) * 8), 1, kPanelTiles);
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

namespace {

constexpr size_t kSpanTiles = kSpan / kTileRows;

void gate_up_float32(OpsContext& context, const LinearInput& input, LinearScratch& scratch,
                     std::span<const LinearPart> parts, LinearInput& out) {
  linear(context, input, scratch, parts);
  const Matrix &gate = parts[0].out, &up = parts[1].out;
  context.team.for_each(gate.rows, 1, [&](size_t first, size_t last, int) {
    for (size_t t = first; t < last; ++t) context.kernels.silu_mul(gate.row(t), up.row(t), gate.columns, gate.row(t));
  });
  out.set(context, gate);
}

}  // namespace

void gate_up(OpsContext& context, const LinearInput& input, LinearScratch& scratch, const PackedWeight& gate,
             const PackedWeight& up, const Matrix& gate_out, const Matrix& up_out, LinearInput& out) {
  const LinearPart parts[] = {{.weight = &gate, .out = gate_out}, {.weight = &up, .out = up_out}};
  if (context.float32()) return gate_up_float32(context, input, scratch, parts, out);
  const LinearSweep sweep(context, input, scratch, parts);
  const size_t tokens = input.values().rows, tiles = sweep.num_tiles(0);
  out.begin_spans(tokens, gate_out.columns);
  const size_t spans = out.num_spans(), token_blocks = (tokens + kTokenBlock - 1) / kTokenBlock;
  context.team.for_each(spans * token_blocks, 1, [&](size_t begin, size_t end, int member) {
    for (size_t item = begin; item < end; ++item) {
      const size_t first = item / spans * kTokenBlock, count = std::min(kTokenBlock, tokens - first);
      const size_t span = item % spans, tile = span * kSpanTiles, last = std::min(tile + kSpanTiles, tiles);
      const size_t columns = std::min<size_t>(kSpan, gate_out.columns - span * kSpan);
      float* memory = context.member_scratch(member, gemm_scratch_floats(count) + 2 * count * kSpan);
      const Matrix g{memory + gemm_scratch_floats(count), count, columns, kSpan};
      const Matrix u{g.data + count * kSpan, count, columns, kSpan};
      sweep.run_into(g, 0, tile, last, first, memory);
      sweep.run_into(u, 1, tile, last, first, memory);
      for (size_t t = 0; t < count; ++t) context.kernels.silu_mul(g.row(t), u.row(t), columns, g.row(t));
      out.quantize_span(context, g, first, span);
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
