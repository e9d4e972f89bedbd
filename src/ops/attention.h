// SPDX-License-Identifier: Apache-2.0
// Attention over paged K and V. A batch is a list of ranges, each the next tokens of one sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/matrix.h"
#include "ops/context.h"

namespace qwin {

// WideChannels of a layer, a list a KV head; -1 fills up shorter lists.
struct WideKeyChannels {
  int count = 0, in_bounds = 0;   // of a head, as WideChannels has them
  std::vector<int16_t> channels;  // [num_kv_heads, count]
};

// K and V that may lie on a disk: hears what is read next, so that what is not in memory comes all at once.
class KvFetcher {
 public:
  // Thread-safe; returns before the bytes are there.
  virtual void will_read(const std::byte* data, size_t bytes) = 0;

 protected:
  ~KvFetcher() = default;
};

// Where one layer's K and V lie: head h of page p at base + p * page_stride + h * head_stride, and the bounds of its
// keys at base + p * page_stride + bounds, head after head. With the wide channels of K, [num_kv_heads, num_wide].
struct KvView {
  std::byte* base = nullptr;
  size_t page_stride = 0;
  size_t head_stride = 0;
  size_t bounds = 0;
  KvType type = KvType::f16;
  int num_kv_heads = 0;
  int head_dim = 0;
  int num_wide = 0, wide_in_bounds = 0;  // a head, as WideChannels has them
  const int16_t* wide_channels = nullptr;
  // [num_kv_heads] the place of each head when all heads of the model are put in order of how much of a text they need;
  // nullptr: not known.
  const int32_t* global_ranks = nullptr;
  KvFetcher* fetcher = nullptr;  // nullptr: all of it is in memory

  std::byte* page(int32_t id) const { return base + static_cast<size_t>(id) * page_stride; }
  size_t bounds_of(size_t head) const { return bounds + head * key_bounds_layout(head_dim, wide_in_bounds).bytes; }
  WideChannels wide(size_t head) const {
    return {wide_channels + head * static_cast<size_t>(num_wide), num_wide, wide_in_bounds};
  }
};

// Consecutive tokens of one sequence within a batch.
struct QueryRange {
  const int32_t* pages = nullptr;  // page ids of the sequence, position / 64 -> id; must cover the last token
  int64_t first_position = 0;
  size_t first_row = 0;  // of the batch
  size_t num_tokens = 0;
  int64_t window = 0;  // asked for by the request; 0 = all keys
  int64_t num_sinks = 0;
  MemoryPlan memory = {};  // with top_k or global parts the window forgets nothing: window >= 64
  // Parts (position / 16, in order) that every query sees once they have left the window, beside those it finds.
  std::span<const int32_t> global_parts = {};
  int64_t global_heads = 0;  // heads of a lower rank see everything; needs KvView::global_ranks
};

// A batch's queries, [num_tokens, num_heads * head_dim], as they meet the keys of their own chunk (all keys, where
// there are no chunks), of the one before, and of all earlier ones.
struct Queries {
  Queries(const Matrix& own) : own(own) {}  // NOLINT: most models have no chunks
  Queries(const Matrix& own, const Matrix& previous, const Matrix& earlier, int64_t chunk_length)
      : own(own), previous(previous), earlier(earlier), chunk_length(chunk_length) {}
  Matrix own, previous, earlier;
  int64_t chunk_length = 0;  // a multiple of kPageSize
};

// Writes K and V of the batch, [num_tokens, num_kv_heads * head_dim] each, into their pages, and the bounds of the
// parts that they fill.
void store_kv(OpsContext& context, const Matrix& k, const Matrix& v, const KvView& kv,
              std::span<const QueryRange> ranges);

// out = softmax(q . K / sqrt(head_dim)) . V [num_tokens, num_heads * head_dim]; the tokens' own K and V are stored
// already. `layer_window` is the checkpoint's own, 0 = all keys; such a layer has no memory.
void attention(OpsContext& context, const Queries& q, const KvView& kv, std::span<const QueryRange> ranges,
               int64_t layer_window, const Matrix& out);

// Of the weight that exact attention gives to all keys, the share that falls on those that the plans of `ranges` show:
// kept [num_tokens, num_heads]. For measurements: as slow as both together.
void kept_attention(OpsContext& context, const Queries& q, const KvView& kv, std::span<const QueryRange> ranges,
                    const Matrix& kept);

}  // namespace qwin
