// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <algorithm>
#include <cmath>

namespace qwin {

namespace {

// Query tokens taken together: a split of K and V stays in the cache for all their rows.
constexpr size_t kTokensPerItem = 16;
// When there are too few items for everyone, members take some splits of an item at a time: this many pieces a member,
// few, since a piece has to wait for its first pages.
constexpr size_t kPiecesPerMember = 4;
// With fewer items a member, one long item could leave the others waiting.
constexpr size_t kItemsPerMember = 4;

// The narrower of the request's and the checkpoint's windows.
int64_t effective_window(int64_t asked, int64_t own) {
  if (asked == 0 || own == 0) return std::max(asked, own);
  return std::min(asked, own);
}

// The work of a batch, in items: up to kTokensPerItem tokens of one range, for one KV head.
class AttentionWork {
 public:
  AttentionWork(const Matrix& q, const KvView& kv, std::span<const QueryRange> ranges, int64_t layer_window,
                const Matrix& out)
      : q_(q), kv_(kv), ranges_(ranges), layer_window_(layer_window), out_(out) {
    group_ = static_cast<int>(q.columns / kv.head_dim) / kv.num_kv_heads;
    for (const QueryRange& range : ranges) {
      num_tiles_ += tiles(range);
      num_choices_ += choices(range);
      const int64_t pages = (range.first_position + static_cast<int64_t>(range.num_tokens)) / kPageSize + 1;
      const size_t floats = choice_scratch_floats(group_, kv.head_dim, pages, range.memory.top_k);
      if (has_memory(range)) choice_scratch_floats_ = std::max(choice_scratch_floats_, floats);
    }
  }

  size_t num_items() const { return num_tiles_ * kv_.num_kv_heads; }
  size_t num_choices() const { return num_choices_; }
  // [ranges][num_kv_heads][num_tokens, top_k]
  void set_choices(int32_t* choices) { choices_ = choices; }
  size_t scratch_floats() const {
    return std::max(choice_scratch_floats_,
                    attention_scratch_floats(kTokensPerItem * group_, kv_.head_dim, kv_.num_wide));
  }

  // Later tokens of a range see more keys: long items come first, so that members end together.
  AttentionArgs item(size_t index, float* scratch) const {
    size_t tile = num_tiles_ - 1 - index / kv_.num_kv_heads;
    const size_t head = index % kv_.num_kv_heads, column = head * group_ * kv_.head_dim;
    const QueryRange* range = ranges_.data();
    const int32_t* parts = choices_;
    for (; tile >= tiles(*range); ++range) {
      tile -= tiles(*range);
      parts += choices(*range);
    }
    const size_t first = tile * kTokensPerItem, row = range->first_row + first;
    const bool remembers = has_memory(*range);
    if (remembers) parts += (head * range->num_tokens + first) * range->memory.top_k;
    // A layer with a window of its own never saw more: what a request adds to see further does not concern it.
    const bool own = layer_window_ > 0 && range->memory.top_k > 0;
    const int64_t sinks = remembers ? whole_pages(range->num_sinks) : own ? 0 : range->num_sinks;
    return {
        .q = q_.row(row) + column,
        .q_stride = q_.stride,
        .out = out_.row(row) + column,
        .out_stride = out_.stride,
        .base = kv_.base + head * kv_.head_stride,
        .pages = range->pages,
        .page_stride = kv_.page_stride,
        .num_tokens = static_cast<int>(std::min(kTokensPerItem, range->num_tokens - first)),
        .first_position = range->first_position + static_cast<int64_t>(first),
        .group = group_,
        .head_dim = kv_.head_dim,
        .window = own ? layer_window_ : effective_window(range->window, layer_window_),
        .num_sinks = sinks,
        .softmax_scale = 1.0f / std::sqrt(static_cast<float>(kv_.head_dim)),
        .wide = kv_.wide(head),
        .scratch = scratch,
        .memory = remembers ? range->memory : MemoryPlan{},
        .bounds = kv_page_layout(kv_.type, kv_.head_dim, kv_.num_wide).bounds,
        .parts = parts,
    };
  }

 private:
  static int64_t whole_pages(int64_t keys) { return (keys + kPageSize - 1) / kPageSize * kPageSize; }
  bool has_memory(const QueryRange& range) const { return range.memory.top_k > 0 && layer_window_ == 0; }
  size_t choices(const QueryRange& range) const {
    return has_memory(range) ? range.num_tokens * kv_.num_kv_heads * range.memory.top_k : 0;
  }
  static size_t tiles(const QueryRange& range) { return (range.num_tokens + kTokensPerItem - 1) / kTokensPerItem; }

  const Matrix& q_;
  const KvView& kv_;
  const std::span<const QueryRange> ranges_;
  const int64_t layer_window_;
  const Matrix& out_;
  int group_ = 0;
  size_t num_tiles_ = 0, num_choices_ = 0, choice_scratch_floats_ = 0;
  int32_t* choices_ = nullptr;
};

// What of their memory the queries of a batch read.
void choose_memory(OpsContext& context, AttentionWork& work) {
  if (work.num_choices() == 0) return;
  work.set_choices(context.shared_choices(work.num_choices()));
  context.team.for_each(work.num_items(), 1, [&](size_t begin, size_t end, int member) {
    for (size_t i = begin; i < end; ++i) {
      const AttentionArgs args = work.item(i, context.member_scratch(member, work.scratch_floats()));
      if (args.memory.top_k > 0) context.kernels.choose_memory(args, const_cast<int32_t*>(args.parts));
    }
  });
}

size_t partial_floats_of(const AttentionArgs& args) {
  return partial_floats(static_cast<size_t>(args.num_tokens) * args.group, args.head_dim);
}

// Too few items for everyone (one long sequence): members take a few splits of an item at a time and leave partials,
// which are merged in order of position afterwards.
void attend_in_pieces(OpsContext& context, const AttentionWork& work, AttentionFn kernel) {
  size_t splits = 0, pieces = 0, floats = 0;
  for (size_t i = 0; i < work.num_items(); ++i) {
    const AttentionArgs args = work.item(i, nullptr);
    splits += static_cast<size_t>(visible_splits(args).count);
    floats += partial_floats_of(args) * visible_splits(args).count;
  }
  const size_t piece_splits = std::max<size_t>(1, splits / (kPiecesPerMember * context.team.size()));
  const auto num_pieces = [piece_splits](const AttentionArgs& args) {
    return (static_cast<size_t>(visible_splits(args).count) + piece_splits - 1) / piece_splits;
  };
  for (size_t i = 0; i < work.num_items(); ++i) pieces += num_pieces(work.item(i, nullptr));
  float* const partials = context.shared_scratch(floats);
  context.team.for_each(pieces, 1, [&](size_t begin, size_t end, int member) {
    float* const scratch = context.member_scratch(member, work.scratch_floats());
    for (size_t i = begin; i < end; ++i) {
      size_t item = 0, piece = i;
      float* to = partials;
      AttentionArgs args = work.item(item, scratch);
      while (piece >= num_pieces(args)) {
        piece -= num_pieces(args);
        to += partial_floats_of(args) * visible_splits(args).count;
        args = work.item(++item, scratch);
      }
      const int first = static_cast<int>(piece * piece_splits);
      const int last = std::min(first + static_cast<int>(piece_splits), visible_splits(args).count);
      kernel(args, first, last, to + partial_floats_of(args) * first);
    }
  });
  const float* from = partials;
  for (size_t i = 0; i < work.num_items(); ++i) {
    const AttentionArgs args = work.item(i, context.member_scratch(0, work.scratch_floats()));
    context.kernels.merge_partials(args, from);
    from += partial_floats_of(args) * visible_splits(args).count;
  }
}

}  // namespace

void store_kv(OpsContext& context, const Matrix& k, const Matrix& v, const KvView& kv,
              std::span<const QueryRange> ranges) {
  const StoreKvFn store = context.kernels.store_kv[static_cast<int>(kv.type)];
  const BoundKeysFn bound = context.kernels.bound_keys[static_cast<int>(kv.type)];
  for (const QueryRange& range : ranges) {
    context.team.for_each(range.num_tokens, 16, [&](size_t begin, size_t end, int) {
      for (size_t t = begin; t < end; ++t) {
        const int64_t position = range.first_position + static_cast<int64_t>(t);
        std::byte* page = kv.base + static_cast<size_t>(range.pages[position / kPageSize]) * kv.page_stride;
        for (size_t h = 0; h < static_cast<size_t>(kv.num_kv_heads); ++h) {
          const size_t column = h * kv.head_dim;
          store(k.row(range.first_row + t) + column, v.row(range.first_row + t) + column, kv.head_dim, kv.wide(h),
                page + h * kv.head_stride, static_cast<size_t>(position % kPageSize));
        }
      }
    });
    const int64_t end_position = range.first_position + static_cast<int64_t>(range.num_tokens);
    if (end_position / kPartSize == range.first_position / kPartSize) continue;  // no part is filled
    const int64_t first_page = range.first_position / kPageSize;
    const auto num_pages = static_cast<size_t>((end_position + kPageSize - 1) / kPageSize - first_page);
    context.team.for_each(num_pages * kv.num_kv_heads, 1, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) {
        const int64_t page = first_page + static_cast<int64_t>(i) / kv.num_kv_heads;
        const size_t head = i % kv.num_kv_heads;
        std::byte* keys = kv.base + static_cast<size_t>(range.pages[page]) * kv.page_stride + head * kv.head_stride;
        for (int part = 0; part < kPageParts; ++part) {
          const int64_t part_end = page * kPageSize + (part + 1) * kPartSize;
          if (part_end > range.first_position && part_end <= end_position)
            bound(keys, kv.head_dim, kv.wide(head), part);
        }
      }
    });
  }
}

void attention(OpsContext& context, const Matrix& q, const KvView& kv, std::span<const QueryRange> ranges,
               int64_t layer_window, const Matrix& out) {
  const AttentionFn kernel = context.kernels.attention[static_cast<int>(kv.type)];
  AttentionWork work(q, kv, ranges, layer_window, out);
  choose_memory(context, work);
  const auto threads = static_cast<size_t>(context.team.size());
  if (threads > 1 && work.num_items() < kItemsPerMember * threads) return attend_in_pieces(context, work, kernel);
  context.team.for_each(work.num_items(), 1, [&](size_t begin, size_t end, int member) {
    for (size_t i = begin; i < end; ++i) {
      const AttentionArgs args = work.item(i, context.member_scratch(member, work.scratch_floats()));
      kernel(args, 0, visible_splits(args).count, nullptr);
    }
  });
}

}  // namespace qwin
