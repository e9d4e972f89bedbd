// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

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

// Places that a token's parts may leave empty where chunks are: before those of the chunk before, and before its own.
constexpr size_t kChunkGaps = (kChunkDistances - 1) * (kPageParts - 1);

// The work of a batch, in items: up to kTokensPerItem tokens of one range, and of one chunk, for one KV head.
class AttentionWork {
 public:
  AttentionWork(const Queries& q, const KvView& kv, std::span<const QueryRange> ranges, int64_t layer_window,
                const Matrix& out)
      : q_(q), kv_(kv), ranges_(ranges), layer_window_(layer_window), out_(out) {
    QWIN_CHECK(q.chunk_length % kPageSize == 0);
    group_ = static_cast<int>(q.own.columns / kv.head_dim) / kv.num_kv_heads;
    for (const QueryRange& range : ranges) {
      num_tiles_ += tiles(range);
      num_choices_ += choices(range);
      const int64_t pages = (range.first_position + static_cast<int64_t>(range.num_tokens)) / kPageSize + 1;
      const size_t floats = choice_scratch_floats(group_, kv.head_dim, kv.wide_in_bounds, pages);
      // place_parts() takes two lists of them.
      if (has_memory(range)) choice_scratch_floats_ = std::max({choice_scratch_floats_, floats, 2 * num_parts(range)});
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

  const QueryRange& range_of(size_t index) const {
    size_t tile = num_tiles_ - 1 - index / kv_.num_kv_heads;
    const QueryRange* range = ranges_.data();
    for (; tile >= tiles(*range); ++range) tile -= tiles(*range);
    return *range;
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
    const size_t first = std::max(tile * kTokensPerItem, lead(*range)) - lead(*range);
    const size_t end = std::min((tile + 1) * kTokensPerItem - lead(*range), range->num_tokens);
    const size_t row = range->first_row + first;
    if (has_memory(*range)) parts += (head * range->num_tokens + first) * num_parts(*range);
    const bool all = sees_all(*range, head), remembers = has_memory(*range) && !all;
    // A layer with a window of its own never saw more: what a request adds to see further does not concern it.
    const bool own = layer_window_ > 0 && (num_parts(*range) > 0 || range->global_heads > 0);
    const int64_t sinks = remembers ? whole_pages(range->num_sinks) : own ? 0 : range->num_sinks;
    return {
        .q = q_.own.row(row) + column,
        .q_stride = q_.own.stride,
        .out = out_.row(row) + column,
        .out_stride = out_.stride,
        .base = kv_.base + head * kv_.head_stride,
        .pages = range->pages,
        .page_stride = kv_.page_stride,
        .num_tokens = static_cast<int>(end - first),
        .first_position = range->first_position + static_cast<int64_t>(first),
        .group = group_,
        .head_dim = kv_.head_dim,
        .window = own   ? layer_window_
                  : all ? 0
                        : effective_window(range->window, layer_window_),
        .num_sinks = sinks,
        .softmax_scale = 1.0f / std::sqrt(static_cast<float>(kv_.head_dim)),
        .wide = kv_.wide(head),
        .scratch = scratch,
        .memory = {.top_k = remembers ? static_cast<int32_t>(num_parts(*range)) : 0,
                   .from = own ? 0 : range->memory.from},
        .bounds = kv_.bounds_of(head) - head * kv_.head_stride,
        .parts = parts,
        .chunks = chunks(row, column),
    };
  }

 private:
  QueryChunks chunks(size_t row, size_t column) const {
    if (q_.chunk_length == 0) return {};
    return {q_.chunk_length, q_.previous.row(row) + column, q_.earlier.row(row) + column};
  }
  static int64_t whole_pages(int64_t keys) { return (keys + kPageSize - 1) / kPageSize * kPageSize; }
  // Places for what a query reads at most, found and global ones together.
  size_t num_parts(const QueryRange& range) const {
    const size_t parts = range.memory.top_k + range.global_parts.size();
    return parts == 0 || q_.chunk_length == 0 ? parts : parts + kChunkGaps;
  }
  bool has_memory(const QueryRange& range) const { return num_parts(range) > 0 && layer_window_ == 0; }
  bool sees_all(const QueryRange& range, size_t head) const {
    return range.global_heads > 0 && layer_window_ == 0 && kv_.global_ranks[head] < range.global_heads;
  }
  size_t choices(const QueryRange& range) const {
    return has_memory(range) ? range.num_tokens * kv_.num_kv_heads * num_parts(range) : 0;
  }
  // Where chunks are, items end at multiples of kTokensPerItem positions: the first lacks so many tokens.
  size_t lead(const QueryRange& range) const {
    return q_.chunk_length == 0 ? 0 : static_cast<size_t>(range.first_position) % kTokensPerItem;
  }
  size_t tiles(const QueryRange& range) const {
    return (lead(range) + range.num_tokens + kTokensPerItem - 1) / kTokensPerItem;
  }

  const Queries& q_;
  const KvView& kv_;
  const std::span<const QueryRange> ranges_;
  const int64_t layer_window_;
  const Matrix& out_;
  int group_ = 0;
  size_t num_tiles_ = 0, num_choices_ = 0, choice_scratch_floats_ = 0;
  int32_t* choices_ = nullptr;
};

// The parts found, [num_tokens, found], and the global ones that have left the window as AttentionArgs::parts has them:
// [num_tokens, top_k]. From the last token down, since both lie in the same place.
void place_parts(const AttentionArgs& args, int found, std::span<const int32_t> global, int32_t* parts) {
  const auto of_token = reinterpret_cast<int32_t*>(args.scratch);  // [found]
  int32_t* const all = of_token + found;                           // [found + global]
  for (int token = args.num_tokens - 1; token >= 0; --token) {
    std::copy_n(parts + static_cast<size_t>(token) * found, found, of_token);
    int32_t* const found_end = std::find(of_token, of_token + found, -1);
    const PageRange pages = memory_pages(args, args.first_position + token);
    const auto seen_begin = std::ranges::lower_bound(global, static_cast<int32_t>(pages.begin * kPageParts));
    const auto seen_end = std::ranges::lower_bound(global, static_cast<int32_t>(pages.end * kPageParts));
    const int32_t* const all_end = std::set_union(of_token, found_end, seen_begin, seen_end, all);
    int32_t* const places = parts + static_cast<size_t>(token) * args.memory.top_k;
    std::fill_n(places, args.memory.top_k, -1);
    ptrdiff_t place = 0;
    for (const int32_t* part = all; part != all_end; ++part) {
      const auto distance = [&](int32_t p) { return chunk_distance(args, int64_t{p} * kPartSize); };
      if (part != all && distance(*part) != distance(part[-1]))
        place = (place + kPageParts - 1) / kPageParts * kPageParts;
      places[place++] = *part;
    }
  }
}

// What queries find their memory by.
void fetch_bounds(const KvView& kv, const AttentionArgs& args) {
  const PageRange pages = memory_pages(args, args.first_position + args.num_tokens - 1);
  for (int64_t page = pages.begin; page < pages.end; ++page)
    kv.fetcher->will_read(args.base + args.bounds + static_cast<size_t>(args.pages[page]) * args.page_stride,
                          key_bounds_layout(args.head_dim, args.wide.in_bounds).bytes);
}

// What an item reads: pages in place, and the chosen parts of others, for q8 with the scales of all of the page.
void fetch_keys(const KvView& kv, const AttentionArgs& args) {
  const KvPageLayout layout = kv_page_layout(kv.type, args.head_dim, args.wide.count);
  const auto fetch = [&](int64_t page, size_t offset, size_t bytes) {
    kv.fetcher->will_read(args.base + static_cast<size_t>(args.pages[page]) * args.page_stride + offset, bytes);
  };
  const VisiblePages seen = visible_pages(args);
  for (int64_t page = 0; page < seen.sinks_end; ++page) fetch(page, 0, layout.bytes);
  for (int64_t page = seen.window_begin; page < seen.end; ++page) fetch(page, 0, layout.bytes);
  const size_t v_end = kv.type == KvType::q8 ? layout.k_scales : layout.bytes;
  const size_t k_bytes = layout.v / kPageParts, v_bytes = (v_end - layout.v) / kPageParts;
  const size_t num_parts = static_cast<size_t>(args.num_tokens) * args.memory.top_k;
  for (const int32_t part : std::span(args.parts, num_parts)) {
    if (part < 0) continue;
    const auto place = static_cast<size_t>(part % kPageParts);
    fetch(part / kPageParts, place * k_bytes, k_bytes);
    fetch(part / kPageParts, layout.v + place * v_bytes, v_bytes);
    if (v_end < layout.bytes) fetch(part / kPageParts, v_end, layout.bytes - v_end);
  }
}

// What of their memory the queries of a batch read.
void choose_memory(OpsContext& context, AttentionWork& work) {
  if (work.num_choices() == 0) return;
  work.set_choices(context.shared_choices(work.num_choices()));
  context.team.for_each(work.num_items(), 1, [&](size_t begin, size_t end, int member) {
    for (size_t i = begin; i < end; ++i) {
      const AttentionArgs args = work.item(i, context.member_scratch(member, work.scratch_floats()));
      if (args.memory.top_k == 0) continue;
      const auto parts = const_cast<int32_t*>(args.parts);
      const QueryRange& range = work.range_of(i);
      AttentionArgs finding = args;
      finding.memory.top_k = range.memory.top_k;
      if (finding.memory.top_k > 0) context.kernels.choose_memory(finding, parts);
      if (finding.memory.top_k < args.memory.top_k) place_parts(args, finding.memory.top_k, range.global_parts, parts);
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

// The logarithm of the sum of exp(score) over the keys that each row of an item sees: [rows].
std::vector<double> log_sums(const AttentionArgs& args, AttentionFn kernel) {
  const size_t rows = static_cast<size_t>(args.num_tokens) * args.group, floats = partial_floats_of(args);
  const int count = visible_splits(args).count;
  std::vector<float> partials(floats * count);
  kernel(args, 0, count, partials.data());
  std::vector<double> sums(rows);
  for (size_t row = 0; row < rows; ++row) {
    const float* const maxima = partials.data() + rows * args.head_dim + row;
    double max = maxima[0], sum = 0;
    for (int i = 1; i < count; ++i) max = std::max<double>(max, maxima[floats * i]);
    for (int i = 0; i < count; ++i) sum += maxima[floats * i + rows] * std::exp(maxima[floats * i] - max);
    sums[row] = max + std::log(sum);
  }
  return sums;
}

}  // namespace

void kept_attention(OpsContext& context, const Queries& q, const KvView& kv, std::span<const QueryRange> ranges,
                    const Matrix& kept) {
  const AttentionFn kernel = context.kernels.attention[static_cast<int>(kv.type)];
  std::vector<QueryRange> whole(ranges.begin(), ranges.end());
  for (QueryRange& range : whole)
    range.window = range.num_sinks = range.global_heads = 0, range.memory = {}, range.global_parts = {};
  AttentionWork plan(q, kv, ranges, 0, q.own);  // nothing is written: the partial results are what is wanted
  const AttentionWork exact(q, kv, whole, 0, q.own);
  choose_memory(context, plan);
  context.team.for_each(plan.num_items(), 1, [&](size_t begin, size_t end, int member) {
    for (size_t i = begin; i < end; ++i) {
      float* const scratch = context.member_scratch(member, std::max(plan.scratch_floats(), exact.scratch_floats()));
      const AttentionArgs args = plan.item(i, scratch);
      const std::vector<double> seen = log_sums(args, kernel), all = log_sums(exact.item(i, scratch), kernel);
      const auto offset = static_cast<size_t>(args.q - q.own.data);  // of the item's first token and head
      const size_t row = offset / q.own.stride, head = offset % q.own.stride / args.head_dim;
      for (size_t r = 0; r < seen.size(); ++r)
        kept.row(row + r / args.group)[head + r % args.group] = static_cast<float>(std::exp(seen[r] - all[r]));
    }
  });
}

void store_kv(OpsContext& context, const Matrix& k, const Matrix& v, const KvView& kv,
              std::span<const QueryRange> ranges) {
  const StoreKvFn store = context.kernels.store_kv[static_cast<int>(kv.type)];
  const BoundKeysFn bound = context.kernels.bound_keys[static_cast<int>(kv.type)];
  for (const QueryRange& range : ranges) {
    context.team.for_each(range.num_tokens, 16, [&](size_t begin, size_t end, int) {
      for (size_t t = begin; t < end; ++t) {
        const int64_t position = range.first_position + static_cast<int64_t>(t);
        std::byte* page = kv.page(range.pages[position / kPageSize]);
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
        std::byte* const data = kv.page(range.pages[page]);
        for (int part = 0; part < kPageParts; ++part) {
          const int64_t part_end = page * kPageSize + (part + 1) * kPartSize;
          if (part_end > range.first_position && part_end <= end_position)
            bound(data + head * kv.head_stride, kv.head_dim, kv.wide(head), part, data + kv.bounds_of(head));
        }
      }
    });
  }
}

void attention(OpsContext& context, const Queries& q, const KvView& kv, std::span<const QueryRange> ranges,
               int64_t layer_window, const Matrix& out) {
  const AttentionFn kernel = context.kernels.attention[static_cast<int>(kv.type)];
  AttentionWork work(q, kv, ranges, layer_window, out);
  const auto fetch = [&](auto&& what) {
    if (kv.fetcher == nullptr) return;
    context.team.for_each(work.num_items(), 1, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) what(kv, work.item(i, nullptr));
    });
  };
  fetch(fetch_bounds);
  choose_memory(context, work);
  fetch(fetch_keys);
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
