// SPDX-License-Identifier: Apache-2.0
#include "model/query_rotations.h"

#include <algorithm>
#include <cmath>

#include "ops/elementwise.h"

namespace qwin {

namespace {

size_t floats_of(const ModelConfig& config, size_t max_tokens) {
  if (!config.dual_chunk.enabled()) return 0;
  return max_tokens * (2 * size_t{config.num_heads} * config.head_dim + 2 * size_t{config.head_dim});
}

// Qwen2.5-1M (arXiv 2501.15383): beyond the original length, scores grow with that of the text as under YaRN, whose
// factor is on queries and on keys alike. vLLM takes the length of the whole prompt for each of its tokens; here a text
// ends with the token, so that a token's K and V never depend on what follows it.
float score_scale(const DualChunkConfig& chunk, int64_t position) {
  const int64_t length = position + 1;
  if (chunk.original_max_positions == 0 || length <= chunk.original_max_positions) return 1.0f;
  const double scale = 0.1 * std::log(static_cast<double>(length) / chunk.original_max_positions) + 1.0;
  return static_cast<float>(scale * scale);
}

}  // namespace

uint64_t QueryRotations::bytes(const ModelConfig& config, size_t max_tokens) {
  return floats_of(config, max_tokens) * sizeof(float);
}

QueryRotations::QueryRotations(const ModelConfig& config, size_t max_tokens)
    : chunk_(config.dual_chunk), head_dim_(config.head_dim), memory_(bytes(config, max_tokens)) {
  if (!chunk_.enabled()) return;
  float* at = memory_.as<float>();
  const auto take = [&](size_t columns) {
    const Matrix matrix{at, max_tokens, columns, columns};
    at += max_tokens * columns;
    return matrix;
  };
  const size_t columns = size_t{config.num_heads} * head_dim_;
  previous_ = take(columns), earlier_ = take(columns);
  previous_cos_ = take(head_dim_ / 2), previous_sin_ = take(head_dim_ / 2);
  earlier_cos_ = take(head_dim_ / 2), earlier_sin_ = take(head_dim_ / 2);
  scales_.resize(max_tokens);
}

int64_t QueryRotations::own_position(int64_t position) const {
  return chunk_.enabled() ? position % chunk_.length() : position;
}

void QueryRotations::set_positions(const RopeTable& rope, std::span<const QueryRange> ranges) {
  beyond_first_chunk_ = false;
  if (!chunk_.enabled()) return;
  const int64_t length = chunk_.length(), farthest = chunk_.chunk_size;
  for (const QueryRange& range : ranges) {
    for (size_t t = 0; t < range.num_tokens; ++t) {
      const int64_t position = range.first_position + static_cast<int64_t>(t);
      const size_t row = range.first_row + t;
      scales_[row] = score_scale(chunk_, position);
      if (position < length) continue;
      beyond_first_chunk_ = true;
      // True distances to the chunk before, as far as local_size reaches; then the farthest of all.
      fill_cos_sin(rope, std::min(length + position % length, farthest), previous_cos_.row(row),
                   previous_sin_.row(row));
      fill_cos_sin(rope, std::min(2 * length - 1, farthest), earlier_cos_.row(row), earlier_sin_.row(row));
    }
  }
}

Queries QueryRotations::rotate(OpsContext& context, const Matrix& q, const Matrix& cos, const Matrix& sin) {
  if (!chunk_.enabled()) {
    rope(context, q, cos, sin, head_dim_);
    return q;
  }
  scale_rows(q, scales_);
  const Matrix previous = previous_.first_rows(q.rows), earlier = earlier_.first_rows(q.rows);
  if (beyond_first_chunk_) {
    copy_rows(q, previous), copy_rows(q, earlier);
    rope(context, previous, previous_cos_, previous_sin_, head_dim_);
    rope(context, earlier, earlier_cos_, earlier_sin_, head_dim_);
  }
  rope(context, q, cos, sin, head_dim_);
  return {q, previous, earlier, chunk_.length()};
}

}  // namespace qwin
