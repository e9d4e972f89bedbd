// SPDX-License-Identifier: Apache-2.0
// What was read and written before, kept for sequences that begin with the same tokens: a tree whose nodes are pages.
// Nodes are found by comparing tokens, never by a hash alone. Which nodes stay is decided by what it would cost to
// compute them again (GreedyDual, Cao and Irani 1997), and among equals by how long ago they were used.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kv_cache/page_pool.h"

namespace qwin {

// K and V depend on the tokens before and on how attention looked at them: prefixes are shared only within one plan.
struct CachePlan {
  std::string salt = {};
  int64_t window = 0;  // 0: exact attention
  int64_t num_sinks = 0;
  int64_t memory_top_k = 0;                // above 0: what has left the window is still read
  int64_t hybrid_from = 0;                 // and only from this position on
  int64_t global_heads = 0;                // heads that see everything
  std::vector<int32_t> global_parts = {};  // pieces that everyone sees: position / 16, in order

  bool forgets() const { return window > 0 && memory_top_k == 0 && global_heads == 0 && global_parts.empty(); }
  auto operator<=>(const CachePlan&) const = default;
};

struct PrefixMatch {
  int32_t node = -1;           // the deepest whole page that matches, or the plan's root; pinned for the caller
  std::vector<int32_t> pages;  // of the whole pages that match, retained for the caller; -1 where the window has passed
  std::vector<int32_t> nodes;  // theirs
  // Beyond the whole pages, the first tail_tokens of another page agree: to be copied, since other tokens will follow.
  int32_t tail_node = -1;  // pinned, and its page retained, until release_tail()
  int64_t tail_tokens = 0;
};

// Single-threaded. A node is
//   in use     pinned by a sequence, or some node below it is
//   evictable  neither children nor pins, or passed by every window: its page goes when space is needed
//   hollow     its page has gone, its children have not
class PrefixCache {
 public:
  // `pages_per_cost`: a page this deep costs twice one at the beginning, since attention costs as much as all else
  // there (some 30 k tokens for the 1.5B).
  PrefixCache(PagePool& pool, int64_t page_size, int64_t pages_per_cost = 400);

  // The longest known prefix of `tokens`.
  PrefixMatch match(const CachePlan& plan, std::span<const int32_t> tokens);
  // The page was copied.
  void release_tail(int32_t tail_node);
  // Tells the cache that `page` holds `tokens` (whole page, or the end of a sequence) after those of `parent`. Returns
  // the node that stands for them now, whose page may be an older one with the same content; a pin on `parent` moves to
  // it. A node without a page takes this one.
  int32_t insert(int32_t parent, std::span<const int32_t> tokens, int32_t page);
  void pin(int32_t node);
  void unpin(int32_t node);
  // The window of a sequence has passed this node, and the sequence gave its page back.
  void passed(int32_t node);

  int32_t page(int32_t node) const { return nodes_[static_cast<size_t>(node)].page; }
  // Frees one page, the one that is cheapest to compute again; false when all are in use.
  bool evict();
  void clear();

  int64_t num_nodes() const { return static_cast<int64_t>(nodes_.size() - unused_.size()); }

 private:
  struct Node {
    int32_t parent = -1;
    int32_t page = -1;
    int32_t num_children = 0;
    int32_t pins = 0;
    int32_t depth = 0;  // pages before this one
    bool is_passed = false;
    int64_t value = 0;  // GreedyDual's: the level at its last use + the cost of computing it again
    uint64_t last_use = 0;
    std::vector<int32_t> tokens = {};
  };

  int32_t root(const CachePlan& plan);
  int32_t new_node(Node node);
  Node& at(int32_t node) { return nodes_[static_cast<size_t>(node)]; }
  bool is_evictable(const Node& node) const;
  // Takes the node out of the order of eviction around a change of its state.
  template <typename F>
  void change(int32_t node, F&& f);
  void use(int32_t node);
  void remove_hollow(int32_t node);
  // The child of `parent` that agrees with most of `tokens`, and in how many of them.
  std::pair<int32_t, int64_t> best_child(int32_t parent, std::span<const int32_t> tokens) const;
  // Whether a query after `num_pages` whole pages sees the one with this index.
  bool is_seen(const CachePlan& plan, size_t num_pages, size_t index) const;
  // Pages that a query after `num_pages` whole ones sees are all there.
  bool is_readable(const CachePlan& plan, std::span<const int32_t> nodes, size_t num_pages) const;

  PagePool& pool_;
  const int64_t page_size_;
  const int64_t pages_per_cost_;
  std::vector<Node> nodes_;
  std::vector<int32_t> unused_;  // free places in nodes_
  std::map<CachePlan, int32_t> roots_;
  std::unordered_multimap<uint64_t, int32_t> children_;         // (parent, first token) -> node
  std::set<std::tuple<int64_t, uint64_t, int32_t>> evictable_;  // value, last use, node
  int64_t level_ = 0;                                           // value of the last page evicted
  uint64_t num_uses_ = 0;
};

}  // namespace qwin
