// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence.h"

#include <algorithm>

namespace qwin {

int64_t Sequence::keep_prefix(std::span<const int32_t> prompt) {
  const size_t limit = std::min(token_ids_.size(), prompt.size() - 1);
  size_t shared = 0;
  while (shared < limit && token_ids_[shared] == prompt[shared]) ++shared;
  // A query at `shared` would look back over its window: those keys must not have been given back.
  if (released_before_ > 0 && static_cast<int64_t>(shared) - window_ + 1 < released_before_) shared = 0;
  if (shared == 0) {
    clear();
    return 0;
  }
  token_ids_.resize(shared);
  table_.truncate(static_cast<int64_t>(shared));
  return static_cast<int64_t>(shared);
}

void Sequence::append(std::span<const int32_t> token_ids) {
  token_ids_.insert(token_ids_.end(), token_ids.begin(), token_ids.end());
  if (window_ > 0) release_left_pages();
}

void Sequence::release_left_pages() {
  // The next query, at num_tokens(), sees keys from num_tokens() - window + 1 on.
  const int64_t first_page = (num_sinks_ + kPageSize - 1) / kPageSize;
  const int64_t last_page = (num_tokens() - window_ + 1) / kPageSize;
  if (last_page <= first_page) return;
  table_.release(first_page, last_page);
  released_before_ = last_page * kPageSize;
}

void Sequence::clear() {
  token_ids_.clear();
  table_.truncate(0);
  released_before_ = 0;
}

}  // namespace qwin
