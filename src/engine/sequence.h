// SPDX-License-Identifier: Apache-2.0
// One conversation's tokens and pages, and the rules by which they grow, shrink and (with a window) leave.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kv_cache/page_table.h"
#include "ops/attention.h"
#include "qwin/engine.h"

namespace qwin {

// Ranges of positions:   [0, sinks)  kept   [sinks, released_before)  given back   [released_before, num_tokens)  kept
class Sequence : public Conversation {
 public:
  Sequence(PagePool& pool, int64_t window, int64_t num_sinks)
      : table_(pool, kPageSize), window_(window), num_sinks_(num_sinks) {}

  int64_t num_tokens() const override { return static_cast<int64_t>(token_ids_.size()); }

  // Keeps the longest prefix shared with `prompt` that is still in memory, but not all of the prompt: its last token
  // must be read again to get logits. Returns the number of tokens kept.
  int64_t keep_prefix(std::span<const int32_t> prompt);

  // Makes room for the next tokens; false when there are too few pages.
  bool reserve(int64_t count) { return table_.reserve(num_tokens() + count); }

  // The range of the next `count` tokens, rows first_row … of a batch. Valid until the sequence changes.
  QueryRange next_range(size_t first_row, size_t count) const {
    return {table_.pages().data(), num_tokens(), first_row, count, window_, window_ > 0 ? num_sinks_ : 0};
  }

  // The tokens were run: their K and V are in the pages. With a window, pages no later query can see are given back.
  void append(std::span<const int32_t> token_ids);

  void clear();

 private:
  void release_left_pages();

  PageTable table_;
  std::vector<int32_t> token_ids_;
  int64_t window_, num_sinks_;
  int64_t released_before_ = 0;
};

}  // namespace qwin
