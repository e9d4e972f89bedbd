// SPDX-License-Identifier: Apache-2.0
// The specification of paged attention: a softmax of its own for every split of 256 positions, splits merged in order
// (arXiv 2205.14135). What is integer is exact; floats come in the order written here.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/reference/exp_reference.h"
#include "kernels/reference/kv_page_reference.h"

namespace qwin {

namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

bool visible(const AttentionArgs& args, int64_t key, int64_t query) {
  return key <= query && (key >= window_begin(args, query) || key < args.num_sinks);
}

struct Partial {
  float* acc;  // [head_dim]
  float* max;
  float* sum;
};

Partial partial_of_row(const AttentionArgs& args, float* partials, int row) {
  const size_t rows = static_cast<size_t>(args.num_tokens) * args.group, dim = args.head_dim;
  return {partials + row * dim, partials + rows * dim + row, partials + rows * (dim + 1) + row};
}

// A page of a split, and which of a row's queries meets its keys.
template <typename Page>
struct SeenPage {
  const std::byte* data = nullptr;
  const typename Page::Query* query = nullptr;
};

// Keys of one split, `is_seen` of them.
template <typename Page, typename F>
void attend_keys(const AttentionArgs& args, const SeenPage<Page> (&pages)[kSplitPages], F&& is_seen,
                 const Partial& out) {
  float p[kSplitKeys];
  float max = kMinusInfinity;
  for (int j = 0; j < kSplitKeys; ++j) {
    const SeenPage<Page>& page = pages[j / kPageSize];
    p[j] = is_seen(j) ? Page(args, page.data).score(*page.query, j % kPageSize) : kMinusInfinity;
    max = std::fmax(max, p[j]);
  }
  float lanes[16] = {};
  for (int j = 0; j < kSplitKeys; ++j) {
    p[j] = p[j] == kMinusInfinity ? 0 : exp_reference(p[j] - max);
    lanes[j % 16] += p[j];
  }
  std::fill_n(out.acc, args.head_dim, 0.0f);
  for (int j = 0; j < kSplitKeys; j += kPageSize) {
    const bool used = std::any_of(p + j, p + j + kPageSize, [](float x) { return x != 0; });
    if (used) Page(args, pages[j / kPageSize].data).add_values(p + j, out.acc);
  }
  *out.max = max;
  *out.sum = reduce_lanes(lanes);
}

const std::byte* page_at(const AttentionArgs& args, int64_t page) {
  return args.base + static_cast<size_t>(args.pages[page]) * args.page_stride;
}

// A row's query in each rotation that some key meets, the nearest first.
template <typename Page>
std::vector<typename Page::Query> queries_of_row(const AttentionArgs& args, int row) {
  const size_t offset =
      (row / args.group) * args.q_stride + static_cast<size_t>(row % args.group) * static_cast<size_t>(args.head_dim);
  std::vector<typename Page::Query> queries;
  for (int i = 0; i <= chunk_distance(args, 0); ++i) queries.emplace_back(args, queries_at(args, i) + offset);
  return queries;
}

// The keys in place: those of a split that the query row sees.
template <typename Page>
void attend_split(const AttentionArgs& args, const std::vector<typename Page::Query>& queries, int64_t position,
                  int64_t split, const Partial& out) {
  SeenPage<Page> pages[kSplitPages];
  const auto is_seen = [&](int j) { return visible(args, split * kSplitKeys + j, position); };
  for (int j = 0; j < kSplitKeys; ++j) {
    const int64_t page = split * kSplitPages + j / kPageSize;
    if (is_seen(j)) pages[j / kPageSize] = {page_at(args, page), &queries[chunk_distance(args, page * kPageSize)]};
  }
  attend_keys<Page>(args, pages, is_seen, out);
}

// Memory: the parts in the places from `first` on are attended to as if they lay side by side in pages of their own.
template <typename Page>
void attend_memory(const AttentionArgs& args, const std::vector<typename Page::Query>& queries, const int32_t* parts,
                   int first, const Partial& out) {
  const size_t page_bytes =
      kv_page_layout(Page::kType, static_cast<size_t>(args.head_dim), static_cast<size_t>(args.wide.count)).bytes;
  std::vector<std::byte> memory(kSplitPages * page_bytes);
  SeenPage<Page> pages[kSplitPages];
  bool seen[kSplitParts] = {};
  for (int i = 0; i < kSplitParts && first + i < args.memory.top_k; ++i) {
    const int64_t part = parts[first + i];
    if (part < 0) continue;
    seen[i] = true;
    std::byte* const to = memory.data() + i / kPageParts * page_bytes;
    pages[i / kPageParts] = {to, &queries[chunk_distance(args, part * kPartSize)]};
    const Page from(args, page_at(args, part / kPageParts));
    for (int slot = 0; slot < kPartSize; ++slot) {
      from.copy_token(static_cast<int>(part % kPageParts) * kPartSize + slot, to, i % kPageParts * kPartSize + slot);
    }
  }
  attend_keys<Page>(args, pages, [&](int j) { return seen[j / kPartSize]; }, out);
}

void merge(size_t head_dim, const Partial& from, const Partial& into) {
  const float max = std::fmax(*into.max, *from.max);
  const float keep = exp_reference(*into.max - max), weight = exp_reference(*from.max - max);
  for (size_t d = 0; d < head_dim; ++d) into.acc[d] = std::fma(from.acc[d], weight, into.acc[d] * keep);
  *into.sum = std::fma(*from.sum, weight, *into.sum * keep);
  *into.max = max;
}

// Merges partial after partial, as `next(i, row)` gives them, and writes the result of every row.
template <typename F>
void merge_splits(const AttentionArgs& args, int count, F&& next) {
  for (int row = 0; row < args.num_tokens * args.group; ++row) {
    std::vector<float> acc(args.head_dim);
    float max = kMinusInfinity, sum = 0;
    for (int i = 0; i < count; ++i) merge(acc.size(), next(i, row), {acc.data(), &max, &sum});
    const float inverse = 1.0f / sum;
    float* out = args.out + (row / args.group) * args.out_stride + static_cast<size_t>(row % args.group) * acc.size();
    for (size_t d = 0; d < acc.size(); ++d) out[d] = acc[d] * inverse;
  }
}

template <typename Page>
void attention_reference(const AttentionArgs& args, int begin, int end, float* partials) {
  const size_t rows = static_cast<size_t>(args.num_tokens) * args.group, floats = partial_floats(rows, args.head_dim);
  const VisibleSplits splits = visible_splits(args);
  const auto attend = [&](int i, int row, float* to) {
    const Partial out = partial_of_row(args, to, row);
    const auto queries = queries_of_row<Page>(args, row);
    const int token = row / args.group;
    if (i < splits.num_in_place) {
      attend_split<Page>(args, queries, args.first_position + token, splits[i], out);
    } else {
      attend_memory<Page>(args, queries, args.parts + static_cast<size_t>(token) * args.memory.top_k,
                          (i - splits.num_in_place) * kSplitParts, out);
    }
    return out;
  };
  if (partials == nullptr) return merge_splits(args, end, [&](int i, int row) { return attend(i, row, args.scratch); });
  for (int i = begin; i < end; ++i) {
    for (size_t row = 0; row < rows; ++row) attend(i, static_cast<int>(row), partials + (i - begin) * floats);
  }
}

void merge_partials_reference(const AttentionArgs& args, const float* partials) {
  const size_t floats = partial_floats(static_cast<size_t>(args.num_tokens) * args.group, args.head_dim);
  merge_splits(args, visible_splits(args).count,
               [&](int i, int row) { return partial_of_row(args, const_cast<float*>(partials) + i * floats, row); });
}

}  // namespace

void add_reference_attention(CpuKernels& kernels) {
  kernels.store_kv[int(KvType::f32)] = store_kv_reference<FloatPage>;
  kernels.store_kv[int(KvType::f16)] = store_kv_reference<HalfPage>;
  kernels.store_kv[int(KvType::q8)] = store_kv_reference<Q8Page>;
  kernels.attention[int(KvType::f32)] = attention_reference<FloatPage>;
  kernels.attention[int(KvType::f16)] = attention_reference<HalfPage>;
  kernels.attention[int(KvType::q8)] = attention_reference<Q8Page>;
  kernels.merge_partials = merge_partials_reference;
}

}  // namespace qwin
