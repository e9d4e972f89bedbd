// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <algorithm>
#include <cmath>

namespace qwin {

namespace {

// Query tokens that share one widened page: their rows (tokens * heads of a group) fill the register tiles of the
// kernel.
constexpr size_t kTokensPerItem = 16;

size_t num_items(const QueryRange& range) { return (range.num_tokens + kTokensPerItem - 1) / kTokensPerItem; }

// The narrower of the request's and the checkpoint's windows.
int64_t effective_window(int64_t asked, int64_t own) {
  if (asked == 0 || own == 0) return std::max(asked, own);
  return std::min(asked, own);
}

}  // namespace

void store_kv(OpsContext& context, const Matrix& k, const Matrix& v, const KvView& kv,
              std::span<const QueryRange> ranges) {
  const StoreKvFn store = context.kernels.store_kv[static_cast<int>(kv.type)];
  for (const QueryRange& range : ranges) {
    context.team.for_each(range.num_tokens, 16, [&](size_t begin, size_t end, int) {
      for (size_t t = begin; t < end; ++t) {
        const int64_t position = range.first_position + static_cast<int64_t>(t);
        std::byte* page = kv.base + static_cast<size_t>(range.pages[position / kPageSize]) * kv.page_stride;
        for (int h = 0; h < kv.num_kv_heads; ++h) {
          const size_t column = static_cast<size_t>(h) * kv.head_dim;
          store(k.row(range.first_row + t) + column, v.row(range.first_row + t) + column, kv.head_dim,
                page + h * kv.head_stride, static_cast<size_t>(position % kPageSize));
        }
      }
    });
  }
}

void attention(OpsContext& context, const Matrix& q, const KvView& kv, std::span<const QueryRange> ranges,
               int64_t layer_window, const Matrix& out) {
  const int group = static_cast<int>(q.columns / kv.head_dim) / kv.num_kv_heads;
  const AttentionFn kernel = context.kernels.attention[static_cast<int>(kv.type)];
  const size_t scratch_floats = attention_scratch_floats(kTokensPerItem * group, kv.head_dim);
  size_t items = 0;
  for (const QueryRange& range : ranges) items += num_items(range);

  // Later tokens see more keys: the long items go first, so that members end together.
  context.team.for_each(items * kv.num_kv_heads, 1, [&](size_t begin, size_t end, int member) {
    for (size_t work = begin; work < end; ++work) {
      size_t item = items - 1 - work / kv.num_kv_heads;
      const size_t head = work % kv.num_kv_heads;
      const QueryRange* range = ranges.data();
      while (item >= num_items(*range)) item -= num_items(*range++);
      const size_t first = item * kTokensPerItem, row = range->first_row + first;
      const size_t column = head * group * kv.head_dim;
      kernel({
          .q = q.row(row) + column,
          .q_stride = q.stride,
          .out = out.row(row) + column,
          .out_stride = out.stride,
          .base = kv.base + head * kv.head_stride,
          .pages = range->pages,
          .page_stride = kv.page_stride,
          .num_tokens = static_cast<int>(std::min(kTokensPerItem, range->num_tokens - first)),
          .first_position = range->first_position + static_cast<int64_t>(first),
          .group = group,
          .head_dim = kv.head_dim,
          .window = effective_window(range->window, layer_window),
          .num_sinks = range->num_sinks,
          .softmax_scale = 1.0f / std::sqrt(static_cast<float>(kv.head_dim)),
          .scratch = context.member_scratch(member, scratch_floats),
      });
    }
  });
}

}  // namespace qwin
