// SPDX-License-Identifier: Apache-2.0
// Any tiles of any weight for any tokens of one input: what the linear layers are made of.
#pragma once

#include <span>

#include "ops/linear.h"

namespace qwin {

// Tokens that meet a panel of weights, unpacked once for all of them.
inline constexpr size_t kTokenBlock = 256;

// One input and the weights it meets. Its members run tiles side by side.
class LinearSweep {
 public:
  // Requires: every out has the same rows, at most the input's.
  LinearSweep(OpsContext& context, const LinearInput& input, LinearScratch& scratch, std::span<const LinearPart> parts);

  // Every tile of every part for every token, one sweep of the team.
  void run_all() const;

  // Tiles [begin, end) of a part for tokens [first, first + count).
  void run(size_t part_index, size_t tile_begin, size_t tile_end, size_t first, size_t count, int member) const;

  // The same without bias and residual; column 0 of `out` [count, …] is the first row of tile_begin.
  void run_into(const Matrix& out, size_t part_index, size_t tile_begin, size_t tile_end, size_t first,
                float* scratch) const;

  size_t num_tiles(size_t part) const { return (parts_[part].weight->stored.rows + kTileRows - 1) / kTileRows; }

 private:
  void fill_sums(size_t part_index);
  // The first part of the same format, whose group sums serve all of them.
  size_t sums_of(size_t part_index) const;
  void run_parts(size_t tile, size_t stop, size_t first, size_t count, int member) const;
  size_t token_block() const;
  // Everything but where the result goes, for tiles counted from `first_tile` and tokens from `first`.
  GemmArgs gemm_args(size_t part_index, size_t first_tile, size_t first, size_t count) const;
  void run_float32(const LinearPart& part, size_t tile_begin, size_t tile_end, size_t first, size_t count,
                   int member) const;

  OpsContext& context_;
  const LinearInput& input_;
  LinearScratch& scratch_;
  std::span<const LinearPart> parts_;
};

}  // namespace qwin
