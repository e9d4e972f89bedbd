// SPDX-License-Identifier: Apache-2.0
#include "kv_cache/prefix_cache.h"

#include <algorithm>

#include "core/check.h"

namespace qwin {

namespace {

constexpr int32_t kNone = -1;

uint64_t child_key(int32_t parent, int32_t first_token) {
  return static_cast<uint64_t>(static_cast<uint32_t>(parent)) << 32 | static_cast<uint32_t>(first_token);
}

}  // namespace

PrefixCache::PrefixCache(PagePool& pool, int64_t page_size, int64_t pages_per_cost)
    : pool_(pool), page_size_(page_size), pages_per_cost_(pages_per_cost) {}

bool PrefixCache::is_evictable(const Node& node) const {
  if (node.page == kNone || pool_.num_holders(node.page) > 0) return false;
  return node.is_passed || (node.num_children == 0 && node.pins == 0);
}

template <typename F>
void PrefixCache::change(int32_t id, F&& f) {
  evictable_.erase({at(id).value, at(id).last_use, id});
  f(at(id));
  if (is_evictable(at(id))) evictable_.insert({at(id).value, at(id).last_use, id});
}

void PrefixCache::use(int32_t id) {
  change(id, [&](Node& node) {
    node.is_passed = false;
    node.value = level_ + 1 + node.depth / pages_per_cost_;
    node.last_use = ++num_uses_;
  });
}

int32_t PrefixCache::new_node(Node node) {
  if (unused_.empty()) {
    nodes_.push_back(std::move(node));
    return static_cast<int32_t>(nodes_.size() - 1);
  }
  const int32_t id = unused_.back();
  unused_.pop_back();
  at(id) = std::move(node);
  return id;
}

int32_t PrefixCache::root(const CachePlan& plan) {
  const auto known = roots_.find(plan);
  if (known != roots_.end()) return known->second;
  const int32_t id = new_node({.depth = -1});
  roots_.emplace(plan, id);
  return id;
}

std::pair<int32_t, int64_t> PrefixCache::best_child(int32_t parent, std::span<const int32_t> tokens) const {
  std::pair<int32_t, int64_t> best{kNone, 0};
  if (tokens.empty()) return best;
  const auto [begin, end] = children_.equal_range(child_key(parent, tokens[0]));
  for (auto it = begin; it != end; ++it) {
    const Node& child = nodes_[static_cast<size_t>(it->second)];
    const auto agree = std::mismatch(child.tokens.begin(), child.tokens.end(), tokens.begin(), tokens.end()).first;
    const int64_t count = agree - child.tokens.begin();
    // Of two that agree equally, the lower id: the order within an unordered map must not decide anything.
    if (count > best.second || (count == best.second && it->second < best.first)) best = {it->second, count};
  }
  return best;
}

bool PrefixCache::is_seen(const CachePlan& plan, size_t num_pages, size_t index) const {
  if (!plan.forgets()) return true;
  const int64_t begin = static_cast<int64_t>(index) * page_size_;
  const int64_t first_seen = static_cast<int64_t>(num_pages) * page_size_ - plan.window + 1;
  return begin + page_size_ > first_seen || begin < plan.num_sinks;
}

bool PrefixCache::is_readable(const CachePlan& plan, std::span<const int32_t> nodes, size_t num_pages) const {
  for (size_t i = 0; i < num_pages; ++i) {
    if (page(nodes[i]) == kNone && is_seen(plan, num_pages, i)) return false;
  }
  return true;
}

PrefixMatch PrefixCache::match(const CachePlan& plan, std::span<const int32_t> tokens) {
  PrefixMatch match;
  match.node = root(plan);
  const auto rest = [&](size_t pages) { return tokens.subspan(pages * static_cast<size_t>(page_size_)); };
  while (rest(match.nodes.size()).size() >= static_cast<size_t>(page_size_)) {
    const auto [child, agree] = best_child(match.node, rest(match.nodes.size()));
    if (agree < page_size_) break;
    match.nodes.push_back(match.node = child);
  }
  const size_t walked = match.nodes.size();
  size_t whole = walked;
  while (whole > 0 && !is_readable(plan, match.nodes, whole)) --whole;
  match.nodes.resize(whole);
  match.node = whole > 0 ? match.nodes.back() : root(plan);
  pin(match.node);
  for (size_t i = 0; i < whole; ++i) {
    const int32_t node = match.nodes[i];
    const bool seen = is_seen(plan, whole, i);
    match.pages.push_back(seen ? page(node) : kNone);
    if (!seen) continue;
    pool_.retain(page(node));
    use(node);
  }
  if (whole < walked) return match;
  const auto [child, agree] = best_child(match.node, rest(whole));
  if (agree > 0 && page(child) != kNone) {
    match.tail_node = child;
    match.tail_tokens = agree;
    pool_.retain(page(child));
    pin(child);
    use(child);
  }
  return match;
}

void PrefixCache::release_tail(int32_t tail_node) {
  pool_.release(page(tail_node));
  unpin(tail_node);
}

int32_t PrefixCache::insert(int32_t parent, std::span<const int32_t> tokens, int32_t page) {
  QWIN_CHECK(!tokens.empty() && static_cast<int64_t>(tokens.size()) <= page_size_);
  const auto [known, agree] = best_child(parent, tokens);
  int32_t id = kNone;
  if (agree == static_cast<int64_t>(tokens.size())) {
    id = known;  // the same, or more of the same
  } else if (agree > 0 && agree == static_cast<int64_t>(at(known).tokens.size()) && at(known).num_children == 0 &&
             at(known).pins == 0 && (at(known).page == kNone || pool_.num_holders(at(known).page) == 0)) {
    // What was the end of a sequence has been continued: the longer one takes its place.
    change(known, [&](Node& node) {
      if (node.page != kNone) pool_.set_cached(node.page, false);
      node.page = page;
      node.tokens.assign(tokens.begin(), tokens.end());
      pool_.set_cached(page, true);
    });
    id = known;
  } else {
    const int32_t depth = at(parent).depth + 1;
    id = new_node({.parent = parent, .page = page, .depth = depth, .tokens = {tokens.begin(), tokens.end()}});
    pool_.set_cached(page, true);
    children_.emplace(child_key(parent, tokens[0]), id);
    change(parent, [](Node& node) { ++node.num_children; });
  }
  if (at(id).page == kNone) {
    at(id).page = page;
    pool_.set_cached(page, true);
  }
  use(id);
  pin(id);
  unpin(parent);
  return id;
}

void PrefixCache::pin(int32_t id) {
  change(id, [](Node& node) { ++node.pins; });
}

void PrefixCache::unpin(int32_t id) {
  QWIN_CHECK(at(id).pins > 0);
  change(id, [](Node& node) { --node.pins; });
  remove_hollow(id);
}

void PrefixCache::passed(int32_t id) {
  change(id, [](Node& node) { node.is_passed = true; });
}

// A node without page and children is nothing; its going may leave its parent so.
void PrefixCache::remove_hollow(int32_t id) {
  while (id != kNone && page(id) == kNone && at(id).num_children == 0 && at(id).pins == 0) {
    const int32_t parent = at(id).parent;
    if (parent == kNone) {
      std::erase_if(roots_, [&](const auto& entry) { return entry.second == id; });
    } else {
      const auto [begin, end] = children_.equal_range(child_key(parent, at(id).tokens[0]));
      children_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == id; }));
      change(parent, [](Node& node) { --node.num_children; });
    }
    at(id) = {};
    unused_.push_back(id);
    id = parent;
  }
}

bool PrefixCache::evict() {
  if (evictable_.empty()) return false;
  const int32_t id = std::get<2>(*evictable_.begin());
  level_ = at(id).value;
  change(id, [&](Node& node) {
    pool_.set_cached(node.page, false);
    node.page = kNone;
    node.is_passed = false;
  });
  remove_hollow(id);
  return true;
}

void PrefixCache::clear() {
  while (evict()) {
  }
}

}  // namespace qwin
