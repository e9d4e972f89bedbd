// SPDX-License-Identifier: Apache-2.0
// The specification of what memory is chosen by: bounds on the scores of a page's keys and of its parts (after Quest,
// arXiv 2406.10774), ranked by a softmax for each query head. Every rung uses these bounds as they are stored here.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/reference/exp_reference.h"
#include "kernels/reference/kv_page_reference.h"

namespace qwin {

namespace {

constexpr float kLargestHalf = 65504.0f;

// lo [head_dim] and hi [head_dim] of the page, then lo [head_dim, 4] and hi [head_dim, 4] of its parts.
template <typename Half>
struct Bounds {
  Bounds(Half* bounds, size_t head_dim)
      : lo(bounds), hi(lo + head_dim), part_lo(hi + head_dim), part_hi(part_lo + kPageParts * head_dim) {}
  Half *lo, *hi, *part_lo, *part_hi;
};

template <typename Page>
void bound_keys(const std::byte* page, size_t head_dim, const WideChannels& wide, int part, std::byte* bounds) {
  const Page keys(static_cast<int>(head_dim), wide, page);
  const Bounds to(reinterpret_cast<uint16_t*>(bounds), head_dim);
  for (size_t d = 0; d < head_dim; ++d) {
    float lo = kLargestHalf, hi = -kLargestHalf;
    for (int slot = part * kPartSize; slot < (part + 1) * kPartSize; ++slot) {
      const float key = keys.key(d, slot);
      lo = key < lo ? key : lo;  // what is not a number bounds nothing
      hi = key > hi ? key : hi;
    }
    to.part_lo[kPageParts * d + part] = float_to_half(std::max(lo, -kLargestHalf));
    to.part_hi[kPageParts * d + part] = float_to_half(std::min(hi, kLargestHalf));
    if (part + 1 < kPageParts) continue;
    const auto less = [](uint16_t a, uint16_t b) { return half_to_float(a) < half_to_float(b); };
    to.lo[d] = *std::min_element(to.part_lo + kPageParts * d, to.part_lo + kPageParts * (d + 1), less);
    to.hi[d] = *std::max_element(to.part_hi + kPageParts * d, to.part_hi + kPageParts * (d + 1), less);
  }
}

Bounds<const uint16_t> bounds_of(const AttentionArgs& args, int64_t page) {
  const std::byte* block = args.base + static_cast<size_t>(args.pages[page]) * args.page_stride;
  return {reinterpret_cast<const uint16_t*>(block + args.bounds), static_cast<size_t>(args.head_dim)};
}

float page_bound(const AttentionArgs& args, const float* q, int64_t page) {
  const auto bounds = bounds_of(args, page);
  float lanes[16] = {};
  for (int d = 0; d < args.head_dim; ++d) {
    lanes[d % 16] = std::fma(q[d], half_to_float((q[d] > 0 ? bounds.hi : bounds.lo)[d]), lanes[d % 16]);
  }
  return reduce_lanes(lanes) * args.softmax_scale;
}

float part_bound(const AttentionArgs& args, const float* q, int64_t part) {
  const auto bounds = bounds_of(args, part / kPageParts);
  float lanes[4] = {};
  for (int d = 0; d < args.head_dim; ++d) {
    const uint16_t* bound = q[d] > 0 ? bounds.part_hi : bounds.part_lo;
    lanes[d % 4] = std::fma(q[d], half_to_float(bound[kPageParts * d + part % kPageParts]), lanes[d % 4]);
  }
  return ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3])) * args.softmax_scale;
}

// The `count` candidates, of so many keys each, that some head of the group gives most of its softmax, in their old
// order.
template <typename F>
std::vector<int64_t> first_ranks(const AttentionArgs& args, int token, std::vector<int64_t> candidates, size_t count,
                                 int64_t candidate_keys, F&& bound) {
  if (candidates.size() <= count) return candidates;
  std::vector<float> ranks(candidates.size()), e(candidates.size());
  for (int head = 0; head < args.group; ++head) {
    const size_t offset = static_cast<size_t>(token) * args.q_stride + static_cast<size_t>(head) * args.head_dim;
    float max = -std::numeric_limits<float>::infinity(), lanes[16] = {};
    for (size_t i = 0; i < e.size(); ++i) {
      const int distance = chunk_distance(args, candidates[i] * candidate_keys);
      e[i] = bound(args, queries_at(args, distance) + offset, candidates[i]);
      max = e[i] > max ? e[i] : max;
    }
    for (size_t i = 0; i < e.size(); ++i) lanes[i % 16] += e[i] = exp_reference(e[i] - max);
    const float inverse = 1.0f / reduce_lanes(lanes);
    for (size_t i = 0; i < e.size(); ++i) ranks[i] = e[i] * inverse > ranks[i] ? e[i] * inverse : ranks[i];
  }
  std::vector<size_t> order(candidates.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = order.size() - 1 - i;  // of equals the later one
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return ranks[a] > ranks[b]; });
  std::vector<int64_t> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(candidates[order[i]]);
  std::ranges::sort(chosen);
  return chosen;
}

void choose_memory_reference(const AttentionArgs& args, int32_t* parts) {
  const auto top_k = static_cast<size_t>(args.memory.top_k);
  for (int token = 0; token < args.num_tokens; ++token, parts += top_k) {
    const PageRange range = memory_pages(args, args.first_position + token);
    std::vector<int64_t> pages, candidates;
    for (int64_t page = range.begin; page < range.end; ++page) pages.push_back(page);
    for (const int64_t page : first_ranks(args, token, pages, top_k, kPageSize, page_bound)) {
      for (int64_t part = 0; part < kPageParts; ++part) candidates.push_back(page * kPageParts + part);
    }
    const std::vector<int64_t> chosen = first_ranks(args, token, candidates, top_k, kPartSize, part_bound);
    for (size_t i = 0; i < top_k; ++i) parts[i] = i < chosen.size() ? static_cast<int32_t>(chosen[i]) : -1;
  }
}

}  // namespace

void add_reference_memory(CpuKernels& kernels) {
  kernels.bound_keys[int(KvType::f32)] = bound_keys<FloatPage>;
  kernels.bound_keys[int(KvType::f16)] = bound_keys<HalfPage>;
  kernels.bound_keys[int(KvType::q8)] = bound_keys<Q8Page>;
  kernels.choose_memory = choose_memory_reference;
}

}  // namespace qwin
