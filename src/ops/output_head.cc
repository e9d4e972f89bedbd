// SPDX-License-Identifier: Apache-2.0
#include "ops/output_head.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "core/check.h"
#include "ops/elementwise.h"
#include "ops/linear_sweep.h"

namespace qwin {

namespace {

constexpr size_t kTileGrain = 1024;  // tiles whose highest logits a member looks up at a time

size_t tiles_of(size_t vocab_size) { return (vocab_size + kTileRows - 1) / kTileRows; }

}  // namespace

OutputHead::OutputHead(size_t max_tokens, size_t vocab_size, const HeadResidual& residual)
    : residual_(residual),
      corrections_(max_tokens * residual.num_rows() * sizeof(float)),
      num_tiles_(tiles_of(vocab_size)),
      highest_(max_tokens * num_tiles_ * sizeof(float)),
      order_(max_tokens * num_tiles_ * sizeof(float)),
      chosen_(max_tokens * kRefinedTiles * sizeof(uint32_t)) {}

void OutputHead::run(OpsContext& context, LinearInput& input, LinearScratch& scratch, const Matrix& x,
                     const PackedWeight& weight, const Matrix& out) {
  QWIN_CHECK(tiles_of(out.columns) == num_tiles_);
  input.set_with_remainder(context, x);
  const size_t rows = residual_.num_rows();
  const LinearPart parts[] = {
      {.weight = &weight, .out = out},
      {.weight = &residual_.weight, .out = {corrections_.as<float>(), x.rows, rows, rows}},
  };
  const LinearSweep sweep(context, input, scratch, std::span(parts).first(rows == 0 ? 1 : 2));
  sweep.run_all();
  if (rows > 0) add_residual(context, out);
  if (context.float32()) return;

  find_highest(context, out);
  context.team.for_each(x.rows, 1, [&](size_t first, size_t last, int) {
    for (size_t t = first; t < last; ++t) choose(t);
  });
  const size_t refined = std::min(kRefinedTiles, num_tiles_);
  context.team.for_each(x.rows * refined, 8, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      const size_t token = i / refined, tile = chosen_.as<uint32_t>()[token * kRefinedTiles + i % refined];
      const size_t columns = std::min<size_t>(kTileRows, out.columns - tile * kTileRows);
      float left[kTileRows], memory[gemm_scratch_floats(1)];
      sweep.run_into({left, 1, columns, kTileRows}, 0, tile, tile + 1, x.rows + token, memory);
      add_row(left, columns, out.row(token) + tile * kTileRows);
    }
  });
}

void OutputHead::add_residual(OpsContext& context, const Matrix& logits) {
  const std::vector<int32_t>& rows = *residual_.rows;
  context.team.for_each(logits.rows, 1, [&](size_t first, size_t last, int) {
    for (size_t t = first; t < last; ++t) {
      const float* corrections = corrections_.as<float>() + t * rows.size();
      for (size_t i = 0; i < rows.size(); ++i) logits.row(t)[rows[i]] += corrections[i];
    }
  });
}

void OutputHead::find_highest(OpsContext& context, const Matrix& logits) {
  const size_t pieces = (num_tiles_ + kTileGrain - 1) / kTileGrain;
  context.team.for_each(logits.rows * pieces, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      const size_t token = i / pieces, first = i % pieces * kTileGrain, last = std::min(first + kTileGrain, num_tiles_);
      float* highest = highest_.as<float>() + token * num_tiles_;
      for (size_t tile = first; tile < last; ++tile) {
        const float* row = logits.row(token) + tile * kTileRows;
        const size_t columns = std::min<size_t>(kTileRows, logits.columns - tile * kTileRows);
        float most = -std::numeric_limits<float>::infinity();
        for (size_t c = 0; c < columns; ++c) most = row[c] > most ? row[c] : most;
        highest[tile] = most;
      }
    }
  });
}

void OutputHead::choose(size_t token) {
  const float* highest = highest_.as<float>() + token * num_tiles_;
  float* order = order_.as<float>() + token * num_tiles_;
  const size_t refined = std::min(kRefinedTiles, num_tiles_);
  std::copy_n(highest, num_tiles_, order);
  std::nth_element(order, order + refined - 1, order + num_tiles_, std::greater<>());
  const float limit = order[refined - 1];
  // Of tiles at the limit the first ones.
  const auto above = static_cast<size_t>(std::count_if(order, order + refined, [&](float v) { return v > limit; }));
  uint32_t* chosen = chosen_.as<uint32_t>() + token * kRefinedTiles;
  size_t at_limit = refined - above;
  for (size_t tile = 0, n = 0; n < refined; ++tile) {
    if (highest[tile] > limit || (highest[tile] == limit && at_limit > 0 && at_limit-- > 0))
      chosen[n++] = static_cast<uint32_t>(tile);
  }
}

}  // namespace qwin
