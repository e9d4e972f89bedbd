// SPDX-License-Identifier: Apache-2.0
#include "server/send_buffer.h"

#include <algorithm>
#include <cstring>

namespace qwin::server {

void SendBuffer::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t end = begin_ + size_;
    if (end == blocks_.size() * kBlockBytes) blocks_.push_back(std::make_unique_for_overwrite<char[]>(kBlockBytes));
    const size_t at = end % kBlockBytes, count = std::min(bytes.size(), kBlockBytes - at);
    std::memcpy(blocks_.back().get() + at, bytes.data(), count);
    size_ += count;
    bytes.remove_prefix(count);
  }
}

std::string_view SendBuffer::front() const {
  if (empty()) return {};
  return {blocks_.front().get() + begin_, std::min(size_, kBlockBytes - begin_)};
}

void SendBuffer::consume(size_t count) {
  begin_ += count;
  size_ -= count;
  if (begin_ < kBlockBytes && !empty()) return;
  blocks_.pop_front();
  begin_ = 0;
}

}  // namespace qwin::server
