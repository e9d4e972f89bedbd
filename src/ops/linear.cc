// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.h"

#include <algorithm>
#include <array>

#include "core/check.h"
#include "ops/elementwise.h"
#include "ops/linear_sweep.h"

namespace qwin {

namespace {

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

void linear(OpsContext& context, const LinearInput& input, LinearScratch& scratch, std::span<const LinearPart> parts) {
  LinearSweep(context, input, scratch, parts).run_all();
}

namespace {

constexpr size_t kSpanTiles = kSpan / kTileRows;

// Outputs of gate_proj, and then of up_proj, that a member computes at a time, over all tokens: few tokens read long
// stretches of each (one token 4-7 % faster than in turns of a span), many keep what they computed in the L2 cache.
constexpr size_t kTurnValues = 2048;

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
  const size_t turn = std::max<size_t>(1, kTurnValues / (kSpan * tokens));
  context.team.for_each(spans * token_blocks, turn, [&](size_t begin, size_t end, int member) {
    for (size_t item = begin, stop; item < end; item = stop) {
      stop = std::min({end, item + turn, (item / spans + 1) * spans});
      const size_t first = item / spans * kTokenBlock, count = std::min(kTokenBlock, tokens - first);
      const size_t span = item % spans, tile = span * kSpanTiles;
      const size_t last = std::min(tile + (stop - item) * kSpanTiles, tiles);
      const size_t columns = std::min((stop - item) * kSpan, gate_out.columns - span * kSpan);
      float* memory = context.member_scratch(member, gemm_scratch_floats(count) + 2 * count * turn * kSpan);
      const Matrix g{memory + gemm_scratch_floats(count), count, columns, turn * kSpan};
      const Matrix u{g.data + count * g.stride, count, columns, g.stride};
      sweep.run_into(g, 0, tile, last, first, memory);
      sweep.run_into(u, 1, tile, last, first, memory);
      for (size_t t = 0; t < count; ++t) context.kernels.silu_mul(g.row(t), u.row(t), columns, g.row(t));
      for (size_t i = 0; i < stop - item; ++i) {
        const size_t width = std::min<size_t>(kSpan, columns - i * kSpan);
        out.quantize_span(context, {g.data + i * kSpan, count, width, g.stride}, first, span + i);
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
