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
  if (key > query) return false;
  return args.window == 0 || key > query - args.window || key < args.num_sinks;
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

// The keys of one split that one query row sees, page by page.
template <typename Page>
void attend_split(const AttentionArgs& args, const typename Page::Query& q, int64_t query, int64_t split,
                  const Partial& out) {
  float p[kSplitKeys];
  std::fill_n(p, kSplitKeys, kMinusInfinity);
  float max = kMinusInfinity;
  const auto page_at = [&](int64_t first_key) {
    return Page(args, args.base + static_cast<size_t>(args.pages[first_key / kPageSize]) * args.page_stride);
  };
  for (int j = 0; j < kSplitKeys; ++j) {
    const int64_t key = split * kSplitKeys + j;
    if (!visible(args, key, query)) continue;
    p[j] = page_at(key).score(q, j % kPageSize);
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
    if (used) page_at(split * kSplitKeys + j).add_values(p + j, out.acc);
  }
  *out.max = max;
  *out.sum = reduce_lanes(lanes);
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
    const float* q =
        args.q + (row / args.group) * args.q_stride + static_cast<size_t>(row % args.group) * args.head_dim;
    const Partial out = partial_of_row(args, to, row);
    attend_split<Page>(args, typename Page::Query(args, q), args.first_position + row / args.group, splits[i], out);
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
