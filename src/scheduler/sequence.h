// SPDX-License-Identifier: Apache-2.0
// One sequence as the scheduler sees it: tokens and pages, counted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kv_cache/page_archive.h"
#include "kv_cache/prefix_cache.h"

namespace qwin {

using SequenceId = uint64_t;

struct NewSequence {
  SequenceId id = 0;
  std::vector<int32_t> prompt = {};
  std::string client = {};
  int priority = 0;
  CachePlan plan = {};
  bool reads_cache = true;  // false: every position is wanted, so every one must be computed
};

// Positions:   [0, num_cached)   taken from the prefix cache when it was admitted last
//              [0, num_computed) K and V are in pages (or were: a window gives its pages back)
//              [num_computed, size()) to be run
struct Sequence {
  NewSequence request;
  std::vector<int32_t> token_ids;  // prompt and answer
  uint64_t arrival = 0;            // order of add()
  double arrival_seconds = 0;
  uint64_t admission = 0;  // order of entering the batch, anew after a pre-emption
  int64_t num_computed = 0;
  int64_t num_cached = 0;
  int64_t first_num_cached = -1;    // of the first admission: what the prompt owed to earlier requests
  std::vector<int32_t> pages;       // position / page size -> page, -1 where a window has passed
  std::vector<int32_t> nodes;       // of the whole pages the prefix cache knows
  int32_t node = -1;                // the last of them or the root; pinned. -1: has none
  int32_t tail_node = -1;           // part of its page agrees: to be copied before the first step
  int64_t tail_tokens = 0;          // in how many tokens
  std::vector<PageDigest> digests;  // with an archive: names of nothing, of the first whole page, …
  bool is_restoring = false;        // the archive may have more of it
  int64_t num_passed = 0;           // pages after the sinks that the window has given back
  bool is_held = false;
  bool is_in_step = false;

  int64_t size() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_left() const { return size() - num_computed; }
  // Only the token just chosen is to be run.
  bool is_decoding() const { return num_left() == 1 && size() > static_cast<int64_t>(request.prompt.size()); }
};

}  // namespace qwin
