// SPDX-License-Identifier: Apache-2.0
// The output head: logits of every id in 8 bits, and again of those that matter, to some 15 bits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/linear.h"

namespace qwin {

// Ascending row numbers.
using ResidualRows = std::shared_ptr<const std::vector<int32_t>>;

// What is added to some rows of the head's weights.
struct HeadResidual {
  PackedWeight weight;  // [rows, hidden_size]
  ResidualRows rows;    // nullptr: none

  size_t num_rows() const { return rows == nullptr ? 0 : rows->size(); }
};

class OutputHead {
 public:
  // Tiles of 16 ids a token whose logits are refined: those with the highest logits, so at least this many ids.
  static constexpr size_t kRefinedTiles = 64;

  // `residual` must outlive this.
  OutputHead(size_t max_tokens, size_t vocab_size, const HeadResidual& residual);

  // out [num_tokens, vocab_size] = x * (weight + residual)^T. With 8-bit inputs alone the head would cause a third of
  // the model's divergence; what quantization leaves over would double its dot products, and goes only to the tiles
  // above. For float32 all logits are exact. Requires: input has room for 2 * num_tokens.
  void run(OpsContext& context, LinearInput& input, LinearScratch& scratch, const Matrix& x, const PackedWeight& weight,
           const Matrix& out);

 private:
  void add_residual(OpsContext& context, const Matrix& logits);
  void find_highest(OpsContext& context, const Matrix& logits);
  void choose(size_t token);

  const HeadResidual& residual_;
  Buffer corrections_;  // float32 [max_tokens, residual rows]
  size_t num_tiles_;
  Buffer highest_;  // float32 [max_tokens, num_tiles] the highest logit of a tile
  Buffer order_;    // float32 [max_tokens, num_tiles] the same, partly sorted
  Buffer chosen_;   // uint32 [max_tokens, kRefinedTiles] tiles in order
};

}  // namespace qwin
