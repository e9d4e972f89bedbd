// SPDX-License-Identifier: Apache-2.0
// How queries are rotated to their positions: once, or with dual-chunk attention (arXiv 2402.17463) once for the keys
// of their own chunk, once for those of the chunk before and once for all earlier ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "model/config.h"
#include "model/rope.h"
#include "ops/attention.h"

namespace qwin {

class QueryRotations {
 public:
  QueryRotations(const ModelConfig& config, size_t max_tokens);
  // Bytes the constructor allocates.
  static uint64_t bytes(const ModelConfig& config, size_t max_tokens);

  // The position in whose rotation a key is stored, and a query meets those of its own chunk.
  int64_t own_position(int64_t position) const;
  // Before the rotate() calls of a batch.
  void set_positions(const RopeTable& rope, std::span<const QueryRange> ranges);
  // Rotates q [num_tokens, num_heads * head_dim] in place by cos and sin, [num_tokens, head_dim / 2] of own_position().
  // What it returns is valid until the next call.
  Queries rotate(OpsContext& context, const Matrix& q, const Matrix& cos, const Matrix& sin);

 private:
  const DualChunkConfig chunk_;
  const size_t head_dim_;
  Buffer memory_;
  Matrix previous_, earlier_;           // [max_tokens, num_heads * head_dim]
  Matrix previous_cos_, previous_sin_;  // [max_tokens, head_dim / 2]
  Matrix earlier_cos_, earlier_sin_;    // [max_tokens, head_dim / 2]
  std::vector<float> scales_;           // [max_tokens] of the scores of a token
  bool beyond_first_chunk_ = false;     // some token of the batch is
};

}  // namespace qwin
