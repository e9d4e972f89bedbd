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

// Channels of K that are large in every token (k_proj biases of hundreds) and would drown the others in q8: their codes
// have a second digit, 256 * high + low.
struct WideChannels {
  const int16_t* channels = nullptr;  // [count], -1 pads to whole quads
  int count = 0;                      // a multiple of 4
};

// One KV head of one layer in a page, as byte offsets.
//   f32, f16   K [head_dim, 64]: 64 keys side by side; V [64, head_dim]
//   q8         K [(head_dim + wide) / 4, 64, 4]: low digits, then the high digits of the wide channels, each + 128;
//              V [16, head_dim, 4] signed; then a float32 scale a token, [64] for K and [64] for V
struct KvPageLayout {
  size_t v, k_scales, v_scales, bytes;
};

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
  float* scratch;  // attention_scratch_floats()
};

// The pages that some token of a call sees: two ranges when a window has left the sinks behind.
struct VisiblePages {
  int64_t sinks_end, window_begin, end;  // [0, sinks_end) and [window_begin, end)
};

constexpr VisiblePages visible_pages(const AttentionArgs& args) {
  const int64_t end = (args.first_position + args.num_tokens + kPageSize - 1) / kPageSize;
  if (args.window == 0) return {0, 0, end};
  const int64_t oldest = args.first_position - args.window + 1;
  const int64_t sinks_end = (args.num_sinks + kPageSize - 1) / kPageSize;
  const int64_t begin = oldest <= 0 ? 0 : oldest / kPageSize;
  return sinks_end >= begin ? VisiblePages{0, 0, end} : VisiblePages{sinks_end, begin, end};
}

// The splits with a visible page, numbered 0 … count - 1 in order of position.
struct VisibleSplits {
  int sinks_end, window_begin, count;

  constexpr int64_t operator[](int i) const { return i < sinks_end ? i : window_begin + (i - sinks_end); }
};

constexpr VisibleSplits visible_splits(const AttentionArgs& args) {
  const VisiblePages pages = visible_pages(args);
  const int end = int((pages.end + kSplitPages - 1) / kSplitPages);
  const int sinks_end = int((pages.sinks_end + kSplitPages - 1) / kSplitPages);
  int begin = int(pages.window_begin / kSplitPages);
  if (begin < sinks_end) begin = sinks_end;
  return {sinks_end, begin, sinks_end + end - begin};
}

// What a split gives to a query row: the sum over its keys of p * v, the maximum of its scores, the sum of p, with
// p = exp(score - maximum). For rows = num_tokens * group: sums [rows, head_dim], maxima [rows], sums [rows].
constexpr size_t partial_floats(size_t rows, size_t head_dim) { return rows * (head_dim + 2); }

// Computes the visible splits [begin, end). Without `partials` these are all of them, and args.out gets the result;
// otherwise partials[(i - begin) * partial_floats()] gets what split i gives.
using AttentionFn = void (*)(const AttentionArgs& args, int begin, int end, float* partials);

// Merges the partials of all visible splits, in order, into args.out; args.scratch as for attention.
using MergePartialsFn = void (*)(const AttentionArgs& args, const float* partials);

// Floats of scratch for rows = num_tokens * group: the running result, one partial, and either a split of K and V in
// float32 or the rows' digits, corrections and scales for q8.
constexpr size_t attention_scratch_floats(size_t rows, size_t head_dim, size_t num_wide) {
  const size_t widened = 2 * kSplitKeys * head_dim, digits = rows * (3 + (head_dim + num_wide + 1) / 2);
  return 2 * partial_floats(rows, head_dim) + (widened > digits ? widened : digits);
}

}  // namespace qwin
