// SPDX-License-Identifier: Apache-2.0
// Page ids, and nothing but ids: which pages are free, which a sequence holds. The bytes are kv_store's.
#pragma once

#include <cstdint>
#include <vector>

namespace qwin {

// Single-threaded. Every id in [0, num_pages) is either free or held by exactly one owner.
class PagePool {
 public:
  explicit PagePool(int32_t num_pages);

  // -1 when none is free. Ids come out in a fixed order, lowest first after construction.
  int32_t allocate();
  // Requires: `page` is held.
  void release(int32_t page);

  int32_t num_pages() const { return num_pages_; }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }
  int32_t num_used() const { return num_pages_ - num_free(); }

 private:
  int32_t num_pages_;
  std::vector<int32_t> free_;  // a stack
  std::vector<bool> held_;
};

}  // namespace qwin
