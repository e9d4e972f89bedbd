// SPDX-License-Identifier: Apache-2.0
#include "kv_cache/page_pool.h"

#include "core/check.h"

namespace qwin {

PagePool::PagePool(int32_t num_pages) : pages_(static_cast<size_t>(num_pages)) {
  for (int32_t page = num_pages - 1; page >= 0; --page) free_.push_back(page);
}

int32_t PagePool::allocate() {
  if (free_.empty()) return -1;
  const int32_t page = free_.back();
  free_.pop_back();
  pages_[static_cast<size_t>(page)].holders = 1;
  ++num_used_;
  return page;
}

void PagePool::retain(int32_t id) {
  QWIN_CHECK(id >= 0 && id < num_pages());
  Page& page = pages_[static_cast<size_t>(id)];
  QWIN_CHECK(page.holders > 0 || page.cached);
  if (page.holders++ == 0) ++num_used_;
}

void PagePool::release(int32_t id) {
  QWIN_CHECK(id >= 0 && id < num_pages());
  Page& page = pages_[static_cast<size_t>(id)];
  QWIN_CHECK(page.holders > 0);
  if (--page.holders > 0) return;
  --num_used_;
  if (!page.cached) free_.push_back(id);
}

void PagePool::set_cached(int32_t id, bool cached) {
  QWIN_CHECK(id >= 0 && id < num_pages());
  Page& page = pages_[static_cast<size_t>(id)];
  QWIN_CHECK(page.holders > 0 || page.cached);
  const bool drops_last = page.cached && !cached && page.holders == 0;
  page.cached = cached;
  if (drops_last) free_.push_back(id);
}

}  // namespace qwin
