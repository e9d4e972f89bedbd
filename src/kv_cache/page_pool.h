// SPDX-License-Identifier: Apache-2.0
// Page ids, and nothing but ids: which pages are free, held by sequences, kept by the prefix cache. The bytes are
// kv_store's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qwin {

// Single-threaded.
//   free     no holder, not cached
//   used     one holder or more (sequences may share a page), cached or not
//   cached   no holder, but the prefix cache keeps it; it gives it up when space is needed
class PagePool {
 public:
  explicit PagePool(int32_t num_pages);

  // A page with one holder; -1 when none is free. Ids come out in a fixed order, lowest first after construction.
  int32_t allocate();
  // Another holder. Requires: `page` is used or cached.
  void retain(int32_t page);
  // One holder less. Requires: `page` is used.
  void release(int32_t page);
  // The prefix cache's own hold. Requires: `page` is used or cached.
  void set_cached(int32_t page, bool cached);

  int32_t num_holders(int32_t page) const { return pages_[static_cast<size_t>(page)].holders; }
  bool is_cached(int32_t page) const { return pages_[static_cast<size_t>(page)].cached; }
  int32_t num_pages() const { return static_cast<int32_t>(pages_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }
  int32_t num_used() const { return num_used_; }
  int32_t num_cached() const { return num_pages() - num_free() - num_used(); }

 private:
  struct Page {
    int32_t holders = 0;
    bool cached = false;
  };

  std::vector<Page> pages_;
  std::vector<int32_t> free_;  // a stack
  int32_t num_used_ = 0;
};

}  // namespace qwin
