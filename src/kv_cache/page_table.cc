// SPDX-License-Identifier: Apache-2.0
#include "kv_cache/page_table.h"

namespace qwin {

bool PageTable::reserve(int64_t length) {
  const int64_t missing = pages_for(length) - static_cast<int64_t>(pages_.size());
  if (missing > pool_->num_free()) return false;
  for (int64_t i = 0; i < missing; ++i) pages_.push_back(pool_->allocate());
  return true;
}

void PageTable::truncate(int64_t length) {
  for (const int64_t keep = pages_for(length); static_cast<int64_t>(pages_.size()) > keep; pages_.pop_back()) {
    if (pages_.back() != kNoPage) pool_->release(pages_.back());
  }
}

void PageTable::release(int64_t first, int64_t last) {
  for (int64_t i = first; i < last && i < static_cast<int64_t>(pages_.size()); ++i) {
    int32_t& page = pages_[static_cast<size_t>(i)];
    if (page != kNoPage) pool_->release(page);
    page = kNoPage;
  }
}

}  // namespace qwin
