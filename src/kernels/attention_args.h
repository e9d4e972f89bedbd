// SPDX-License-Identifier: Apache-2.0
// Paged attention: how a page holds K and V, and what the kernels take. kernels/reference/attention_reference.cc is the
// specification; every rung gives its bits, whatever the batch, the chunks or the threads.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstddef>

namespace qwin {

enum class KvType : uint8_t { f32, f16, q8 };
inline constexpr int kNumKvTypes = 3;
inline constexpr int kPageSize = 64;   // tokens a KV page
inline constexpr int kSplitPages = 4;  // pages, counted from position 0, whose partial result is a unit of its own
inline constexpr int kSplitKeys = kSplitPages * kPageSize;
inline constexpr int kPartSize = 16;  // consecutive keys that memory reads or leaves together
inline constexpr int kPageParts = kPageSize / kPartSize;
inline constexpr int kSplitParts = kSplitKeys / kPartSize;

// Channels of K that are large in every token (k_proj biases of hundreds) and would drown the others where numbers of
// 8 bits share a scale. In q8 their codes have a second digit, 256 * high + low. Bounds, which need less, give 16 bits
// to the widest of them.
struct WideChannels {
  const int16_t* channels = nullptr;  // [count], the widest first; -1 pads to whole quads
  int count = 0;                      // a multiple of 4
  int in_bounds = 0;                  // how many of them bounds keep apart, likewise
};

// One KV head of one layer in a page, as byte offsets. The keys of a part lie together, for memory to read them alone.
//   f32, f16   K [4, head_dim, 16]: 16 keys side by side; V [64, head_dim]
//   q8         K [4, (head_dim + wide) / 4, 16, 4]: low digits, then the high digits of the wide channels, each + 128;
//              V [16, head_dim, 4] signed; then a float32 scale a token, [64] for K and [64] for V
struct KvPageLayout {
  size_t v, k_scales, v_scales, bytes;
};

// The bounds of a page's keys, rounded: for each of its parts of 16 and each channel the pair (largest, -smallest).
// Every query reads them: they lie apart from K and V. As byte offsets:
//   0       in 8 bits, [head_dim / 2, 4, 2, 2] signed; a channel that is kept apart is 0 there
//   wide    those kept apart in 16 bits, [num_wide, 4, 2]
//   scales  float32, [4] of the parts' codes of 8 bits, [4] of those of 16
struct KeyBoundsLayout {
  size_t wide, scales, bytes;  // whole cache lines
};

constexpr KeyBoundsLayout key_bounds_layout(size_t head_dim, size_t num_wide) {
  const size_t wide = 2 * kPageParts * head_dim, scales = wide + 4 * kPageParts * num_wide;
  return {wide, scales, (scales + 8 * kPageParts + 63) / 64 * 64};
}

constexpr KvPageLayout kv_page_layout(KvType type, size_t head_dim, size_t num_wide) {
  if (type != KvType::q8) {
    const size_t plane = kPageSize * head_dim * (type == KvType::f32 ? 4 : 2);
    return {plane, 0, 0, 2 * plane};
  }
  const size_t v = kPageSize * (head_dim + num_wide), scales = v + kPageSize * head_dim;
  return {v, scales, scales + 4 * kPageSize, scales + 8 * kPageSize};
}

// Stores the K and V of one token, [head_dim] each; `slot` is its place in the page. `wide` concerns q8 alone.
using StoreKvFn = void (*)(const float* k, const float* v, size_t head_dim, const WideChannels& wide, std::byte* page,
                           size_t slot);

// Writes the bounds of a part whose keys are all stored. Numbers beyond binary16 count as its largest; what is not a
// number bounds nothing.
using BoundKeysFn = void (*)(const std::byte* page, size_t head_dim, const WideChannels& wide, int part,
                             std::byte* bounds);

// Hybrid attention: from position `from` on, a query sees the sinks, a window that begins at the border of a page, and
// of what lies between them the `top_k` parts that choose_memory() finds for it; before, it sees every key.
struct MemoryPlan {
  int32_t top_k = 0;  // 0: no memory
  int64_t from = 0;
};

// Dual-chunk attention (arXiv 2402.17463): keys are rotated to their place in a chunk of `length` positions, and a
// query meets those of its own chunk, of the one before and of all earlier ones in a rotation each.
struct QueryChunks {
  int64_t length = 0;          // a multiple of 64; 0: AttentionArgs::q meets all keys
  const float* previous = {};  // as AttentionArgs::q, which meets the keys of its own chunk
  const float* earlier = {};
};
inline constexpr int kChunkDistances = 3;

// Causal attention of the query heads that share one KV head (arXiv 2205.14135, with splits as in flash-decoding).
// Tolerance of f32 and f16: (2e-6 + 5e-7 * scale * max over keys of sum |q k|) * max |v|.
struct AttentionArgs {
  const float* q;  // [num_tokens, q_stride], heads of the group first
  size_t q_stride;
  float* out;  // likewise
  size_t out_stride;
  const std::byte* base;  // page p lies at base + pages[p] * page_stride
  const int32_t* pages;   // [ceil(last position + 1 / 64)]
  size_t page_stride;
  int num_tokens;
  int64_t first_position;  // of token 0; token t attends to positions 0 … first_position + t
  int group;               // query heads of this KV head
  int head_dim;            // a multiple of 16, at most 256
  int64_t window;          // keys a query sees, itself included; 0 = all
  int64_t num_sinks;       // the first positions are seen in spite of the window
  float softmax_scale;
  WideChannels wide;
  float* scratch;          // attention_scratch_floats()
  MemoryPlan memory = {};  // with it: window >= 64, num_sinks whole pages
  size_t bounds = 0;       // those of page p lie at base + pages[p] * page_stride + bounds
  // [num_tokens, memory.top_k] chosen for each token: position / 16, in order, then -1. Four of them are read as a
  // page, so those of another chunk_distance() begin at a multiple of four, with -1 before them.
  const int32_t* parts = {};
  QueryChunks chunks = {};  // with it: the tokens of a call lie in one chunk
};

// How many chunks before the queries a key lies, 2 standing for all that are more: the rotation in which they meet.
constexpr int chunk_distance(const AttentionArgs& args, int64_t key) {
  if (args.chunks.length == 0) return 0;
  const int64_t distance = args.first_position / args.chunks.length - key / args.chunks.length;
  return distance < kChunkDistances ? int(distance) : kChunkDistances - 1;
}
constexpr const float* queries_at(const AttentionArgs& args, int chunk_distance) {
  return chunk_distance == 0 ? args.q : chunk_distance == 1 ? args.chunks.previous : args.chunks.earlier;
}

// The first key of the window that a query sees, the sinks aside.
constexpr int64_t window_begin(const AttentionArgs& args, int64_t query) {
  if (args.window == 0 || query < args.memory.from || query < args.window) return 0;
  const int64_t oldest = query - args.window + 1;
  return args.memory.top_k > 0 ? oldest / kPageSize * kPageSize : oldest;
}

// The pages from which memory is chosen for a query: those between sinks and window.
struct PageRange {
  int64_t begin, end;
};
constexpr PageRange memory_pages(const AttentionArgs& args, int64_t query) {
  const int64_t begin = args.num_sinks / kPageSize, end = window_begin(args, query) / kPageSize;
  return args.memory.top_k == 0 || end < begin ? PageRange{begin, begin} : PageRange{begin, end};
}

// The pages that some token of a call sees in place: two ranges when a window has left the sinks behind.
struct VisiblePages {
  int64_t sinks_end, window_begin, end;  // [0, sinks_end) and [window_begin, end)
};

constexpr VisiblePages visible_pages(const AttentionArgs& args) {
  const int64_t end = (args.first_position + args.num_tokens + kPageSize - 1) / kPageSize;
  if (args.window == 0) return {0, 0, end};
  const int64_t sinks_end = (args.num_sinks + kPageSize - 1) / kPageSize;
  const int64_t begin = window_begin(args, args.first_position) / kPageSize;
  return sinks_end >= begin ? VisiblePages{0, 0, end} : VisiblePages{sinks_end, begin, end};
}

// The splits of a call, numbered 0 … count - 1: those with a visible page, in order of position, then those of memory,
// each the next 16 places of every token's parts.
struct VisibleSplits {
  int sinks_end, window_begin, num_in_place, count;

  // Requires: i < num_in_place.
  constexpr int64_t operator[](int i) const { return i < sinks_end ? i : window_begin + (i - sinks_end); }
};

constexpr VisibleSplits visible_splits(const AttentionArgs& args) {
  const VisiblePages pages = visible_pages(args);
  const int end = int((pages.end + kSplitPages - 1) / kSplitPages);
  const int sinks_end = int((pages.sinks_end + kSplitPages - 1) / kSplitPages);
  int begin = int(pages.window_begin / kSplitPages);
  if (begin < sinks_end) begin = sinks_end;
  // The last token has the most to choose from.
  const PageRange memory = memory_pages(args, args.first_position + args.num_tokens - 1);
  int64_t parts = (memory.end - memory.begin) * kPageParts;
  if (parts > args.memory.top_k) parts = args.memory.top_k;
  const int in_place = sinks_end + end - begin;
  return {sinks_end, begin, in_place, in_place + int((parts + kSplitParts - 1) / kSplitParts)};
}

// What a split gives to a query row: the sum over its keys of p * v, the maximum of its scores, the sum of p, with
// p = exp(score - maximum). For rows = num_tokens * group: sums [rows, head_dim], maxima [rows], sums [rows].
constexpr size_t partial_floats(size_t rows, size_t head_dim) { return rows * (head_dim + 2); }

// Computes the visible splits [begin, end). Without `partials` these are all of them, and args.out gets the result;
// otherwise partials[(i - begin) * partial_floats()] gets what split i gives.
using AttentionFn = void (*)(const AttentionArgs& args, int begin, int end, float* partials);

// Merges the partials of all visible splits, in order, into args.out; args.scratch as for attention.
using MergePartialsFn = void (*)(const AttentionArgs& args, const float* partials);

// Chooses the parts that each token of a call reads, [num_tokens, memory.top_k] as AttentionArgs::parts has them; out
// and parts of `args` are not looked at, scratch is choice_scratch_floats().
//   1. The score of a part for a query head is at most sum over channels of |q| * (q > 0 ? largest : -smallest): its
//      bound. |q| is rounded to 8 bits, for wide channels to as many as their number leaves room for in a sum of 32.
//   2. A softmax over the bounds of all parts for each head, then the largest over the heads of the group, ranks parts.
// Of equals the later one goes first; for a head whose query is not finite all are. Nothing but the query and earlier
// keys decides.
using ChooseMemoryFn = void (*)(const AttentionArgs& args, int32_t* parts);

// What a query row's codes go up to.
inline constexpr int kMaxNarrowQuery = 255;
constexpr int max_wide_query(int num_wide) { return 65535 / num_wide; }  // num_wide >= 4

// For pages [0, num_pages).
constexpr size_t choice_scratch_floats(size_t group, size_t head_dim, size_t num_wide, size_t num_pages) {
  return (group + 2) * (kPageParts * (num_pages + 1) + 16) + group * kPageParts * (head_dim / 2 + num_wide) +
         2 * (group + 4) * kPageParts;
}

// Floats of a query row as q8 reads it: three numbers and two digits a channel.
constexpr size_t q8_query_floats(size_t head_dim, size_t num_wide) { return 3 + (head_dim + num_wide + 1) / 2; }

// Floats of scratch for rows = num_tokens * group: the running result, one partial, and either a split of K and V in
// float32 or, for q8, the digits, corrections and scales of the rows in every rotation.
constexpr size_t attention_scratch_floats(size_t rows, size_t head_dim, size_t num_wide) {
  const size_t widened = 2 * kSplitKeys * head_dim,
               digits = kChunkDistances * rows * q8_query_floats(head_dim, num_wide);
  return 2 * partial_floats(rows, head_dim) + (widened > digits ? widened : digits);
}

}  // namespace qwin
