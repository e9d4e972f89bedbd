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
    pool_->release(pages_.back());
  }
}

}  // namespace qwin
