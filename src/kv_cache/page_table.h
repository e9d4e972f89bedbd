// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kv_cache/page_pool.h"

namespace qwin {

// The pages of one sequence: positions 64 i … 64 i + 63 lie in pages()[i]. Gives its pages back when it dies.
class PageTable {
 public:
  PageTable(PagePool& pool, int64_t page_size) : pool_(&pool), page_size_(page_size) {}
  ~PageTable() { truncate(0); }
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  // Makes room for positions [0, length). False, with nothing changed, when the pool has too few pages.
  bool reserve(int64_t length);
  // Gives back the pages that positions [0, length) do not need.
  void truncate(int64_t length);

  // Gives back pages()[first] … pages()[last - 1], which become kNoPage; those already given back stay so.
  void release(int64_t first, int64_t last);

  static constexpr int32_t kNoPage = -1;
  const std::vector<int32_t>& pages() const { return pages_; }

 private:
  int64_t pages_for(int64_t length) const { return (length + page_size_ - 1) / page_size_; }

  PagePool* pool_;
  int64_t page_size_;
  std::vector<int32_t> pages_;
};

}  // namespace qwin
