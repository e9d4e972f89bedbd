// SPDX-License-Identifier: Apache-2.0
#include "kv_cache/page_pool.h"

#include "core/check.h"

namespace qwin {

PagePool::PagePool(int32_t num_pages) : num_pages_(num_pages), held_(static_cast<size_t>(num_pages), false) {
  for (int32_t page = num_pages - 1; page >= 0; --page) free_.push_back(page);
}

int32_t PagePool::allocate() {
  if (free_.empty()) return -1;
  const int32_t page = free_.back();
  free_.pop_back();
  held_[static_cast<size_t>(page)] = true;
  return page;
}

void PagePool::release(int32_t page) {
  QWIN_CHECK(page >= 0 && page < num_pages_ && held_[static_cast<size_t>(page)]);
  held_[static_cast<size_t>(page)] = false;
  free_.push_back(page);
}

}  // namespace qwin
