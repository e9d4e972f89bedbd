// SPDX-License-Identifier: Apache-2.0
// The output head: logits of every id in 8 bits, and again of those that matter, to some 15 bits.
#pragma once

#include <cstdint>

#include "ops/linear.h"

namespace qwin {

class OutputHead {
 public:
  // Tiles of 16 ids a token whose logits are refined: those with the highest logits, so at least this many ids.
  static constexpr size_t kRefinedTiles = 64;

  OutputHead(size_t max_tokens, size_t vocab_size);

  // out [num_tokens, vocab_size] = x * weight^T. With 8-bit inputs alone the head would cause a third of the model's
  // divergence; what quantization leaves over would double its dot products, and goes only to the tiles above. For
  // float32 all logits are exact. Requires: input has room for 2 * num_tokens.
  void run(OpsContext& context, LinearInput& input, LinearScratch& scratch, const Matrix& x, const PackedWeight& weight,
           const Matrix& out);

 private:
  void find_highest(OpsContext& context, const Matrix& logits);
  void choose(size_t token);

  size_t num_tiles_;
  Buffer highest_;  // float32 [max_tokens, num_tiles] the highest logit of a tile
  Buffer order_;    // float32 [max_tokens, num_tiles] the same, partly sorted
  Buffer chosen_;   // uint32 [max_tokens, kRefinedTiles] tiles in order
};

}  // namespace qwin
