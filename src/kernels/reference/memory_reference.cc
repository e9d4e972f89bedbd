// SPDX-License-Identifier: Apache-2.0
// The specification of what memory is chosen by: bounds on the scores of the keys of a part (after Quest, arXiv
// 2406.10774), ranked by a softmax for each query head. Every rung uses these bounds as they are stored here.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/reference/exp_reference.h"
#include "kernels/reference/kv_page_reference.h"

namespace qwin {

namespace {

constexpr float kLargestHalf = 65504.0f;
constexpr float kMaxNarrow = 127, kMaxWide = 32767;

// What a code of numbers up to `max` stands for when codes go up to `limit`.
struct Step {
  Step(float max, float limit) {
    if (max > Q8Page::kMinScale) size = max / limit, inverse = limit / max;
  }
  int code(float x) const { return static_cast<int>(std::nearbyint(x * inverse)); }

  float size = 0, inverse = 0;
};

// Of one page, as KeyBoundsLayout says.
template <typename Byte>
class PageBounds {
 public:
  PageBounds(Byte* bytes, size_t head_dim, const WideChannels& wide)
      : layout_(key_bounds_layout(head_dim, static_cast<size_t>(wide.in_bounds))), bytes_(bytes) {}

  // The larger of the pair first, then the smaller with its sign turned.
  Byte* narrow(size_t channel, int part) const {
    return bytes_ + ((channel / 2 * kPageParts + static_cast<size_t>(part)) * 2 + channel % 2) * 2;
  }
  Byte* wide(int i, int part) const { return bytes_ + layout_.wide + static_cast<size_t>(i * kPageParts + part) * 4; }
  Byte* narrow_scale(int part) const { return bytes_ + layout_.scales + static_cast<size_t>(part) * 4; }
  Byte* wide_scale(int part) const { return bytes_ + layout_.scales + static_cast<size_t>(kPageParts + part) * 4; }

 private:
  KeyBoundsLayout layout_;
  Byte* bytes_;
};

// Which place in the list of those that bounds keep apart a channel has, or -1.
std::vector<int> wide_places(size_t head_dim, const WideChannels& wide) {
  std::vector<int> places(head_dim, -1);
  for (int i = 0; i < wide.in_bounds; ++i) {
    if (wide.channels[i] >= 0) places[wide.channels[i]] = i;
  }
  return places;
}

template <typename Page>
void bound_keys(const std::byte* page, size_t head_dim, const WideChannels& wide, int part, std::byte* bounds) {
  const Page keys(static_cast<int>(head_dim), wide, page);
  const PageBounds to(bounds, head_dim, wide);
  const std::vector<int> places = wide_places(head_dim, wide);
  std::vector<float> largest(head_dim), smallest(head_dim);
  float narrow_max = 0, wide_max = 0;
  for (size_t d = 0; d < head_dim; ++d) {
    float lo = kLargestHalf, hi = -kLargestHalf;
    for (int slot = part * kPartSize; slot < (part + 1) * kPartSize; ++slot) {
      const float key = keys.key(d, slot);
      lo = key < lo ? key : lo;  // what is not a number bounds nothing
      hi = key > hi ? key : hi;
    }
    largest[d] = lo > hi ? 0 : std::min(hi, kLargestHalf), smallest[d] = lo > hi ? 0 : std::max(lo, -kLargestHalf);
    float& max = places[d] < 0 ? narrow_max : wide_max;
    max = std::max({max, std::fabs(largest[d]), std::fabs(smallest[d])});
  }
  const Step narrow(narrow_max, kMaxNarrow), wider(wide_max, kMaxWide);
  for (int i = 0; i < wide.in_bounds; ++i) std::memset(to.wide(i, part), 0, 4);  // where the list is filled up
  for (size_t d = 0; d < head_dim; ++d) {
    std::memset(to.narrow(d, part), 0, 2);
    if (places[d] < 0) {
      const int8_t pair[2] = {static_cast<int8_t>(narrow.code(largest[d])),
                              static_cast<int8_t>(narrow.code(-smallest[d]))};
      std::memcpy(to.narrow(d, part), pair, sizeof pair);
    } else {
      const int16_t pair[2] = {static_cast<int16_t>(wider.code(largest[d])),
                               static_cast<int16_t>(wider.code(-smallest[d]))};
      std::memcpy(to.wide(places[d], part), pair, sizeof pair);
    }
  }
  std::memcpy(to.narrow_scale(part), &narrow.size, 4);
  std::memcpy(to.wide_scale(part), &wider.size, 4);
}

template <typename T>
T value_at(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// A query head as bounds meet it.
struct BoundQuery {
  BoundQuery(const AttentionArgs& args, const float* q)
      : places(wide_places(static_cast<size_t>(args.head_dim), args.wide)), codes(places.size()) {
    float narrow_max = 0, wide_max = 0;
    bool finite = true;
    for (size_t d = 0; d < codes.size(); ++d) {
      finite &= std::isfinite(q[d]);
      float& max = places[d] < 0 ? narrow_max : wide_max;
      max = std::fmax(max, std::fabs(q[d]));
    }
    if (!finite) return;
    const int wide_limit = args.wide.in_bounds > 0 ? max_wide_query(args.wide.in_bounds) : 1;
    const Step narrow(narrow_max, static_cast<float>(kMaxNarrowQuery)), wider(wide_max, static_cast<float>(wide_limit));
    narrow_unit = narrow.size * args.softmax_scale, wide_unit = wider.size * args.softmax_scale;
    for (size_t d = 0; d < codes.size(); ++d) codes[d] = (places[d] < 0 ? narrow : wider).code(q[d]);
  }

  std::vector<int> places;
  std::vector<int> codes;
  float narrow_unit = 0, wide_unit = 0;
};

float part_bound(const AttentionArgs& args, const BoundQuery& query, int64_t at) {
  const std::byte* block = args.base + static_cast<size_t>(args.pages[at / kPageParts]) * args.page_stride;
  const PageBounds bounds(block + args.bounds, static_cast<size_t>(args.head_dim), args.wide);
  const int part = static_cast<int>(at % kPageParts);
  int32_t narrow = 0, wide = 0;
  for (size_t d = 0; d < query.codes.size(); ++d) {
    const int code = query.codes[d], side = code > 0 ? 0 : 1;
    if (query.places[d] < 0) {
      narrow += std::abs(code) * value_at<int8_t>(bounds.narrow(d, part) + side);
    } else {
      wide += std::abs(code) * value_at<int16_t>(bounds.wide(query.places[d], part) + 2 * side);
    }
  }
  const float score = static_cast<float>(narrow) * value_at<float>(bounds.narrow_scale(part)) * query.narrow_unit;
  if (args.wide.in_bounds == 0) return score;
  return std::fma(static_cast<float>(wide) * value_at<float>(bounds.wide_scale(part)), query.wide_unit, score);
}

// The `count` of these parts that some head of the group gives most of its softmax, in their old order.
std::vector<int64_t> first_ranks(const AttentionArgs& args, int token, const std::vector<int64_t>& parts,
                                 size_t count) {
  if (parts.size() <= count) return parts;
  std::vector<float> ranks(parts.size()), e(parts.size());
  for (int head = 0; head < args.group; ++head) {
    const size_t offset = static_cast<size_t>(token) * args.q_stride + static_cast<size_t>(head) * args.head_dim;
    std::vector<BoundQuery> queries;  // in every rotation that some key meets
    for (int i = 0; i <= chunk_distance(args, 0); ++i) queries.emplace_back(args, queries_at(args, i) + offset);
    float max = -std::numeric_limits<float>::infinity(), lanes[16] = {};
    for (size_t i = 0; i < e.size(); ++i) {
      e[i] = part_bound(args, queries[chunk_distance(args, parts[i] * kPartSize)], parts[i]);
      max = e[i] > max ? e[i] : max;
    }
    for (size_t i = 0; i < e.size(); ++i) lanes[i % 16] += e[i] = exp_reference(e[i] - max);
    const float inverse = 1.0f / reduce_lanes(lanes);
    for (size_t i = 0; i < e.size(); ++i) ranks[i] = e[i] * inverse > ranks[i] ? e[i] * inverse : ranks[i];
  }
  std::vector<size_t> order(parts.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = order.size() - 1 - i;  // of equals the later one
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return ranks[a] > ranks[b]; });
  std::vector<int64_t> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(parts[order[i]]);
  std::ranges::sort(chosen);
  return chosen;
}

void choose_memory_reference(const AttentionArgs& args, int32_t* parts) {
  const auto top_k = static_cast<size_t>(args.memory.top_k);
  for (int token = 0; token < args.num_tokens; ++token, parts += top_k) {
    const PageRange range = memory_pages(args, args.first_position + token);
    std::vector<int64_t> all;
    for (int64_t part = range.begin * kPageParts; part < range.end * kPageParts; ++part) all.push_back(part);
    const std::vector<int64_t> chosen = first_ranks(args, token, all, top_k);
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
