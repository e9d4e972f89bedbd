// SPDX-License-Identifier: Apache-2.0
// What a client has not taken yet: a queue of bytes in small blocks, so that thousands of full ones take no more memory
// than there are bytes in them, and an empty one next to none. Not thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string_view>

namespace qwin::server {

class SendBuffer {
 public:
  void append(std::string_view bytes);
  // The first bytes, as many as lie together; empty when there are none.
  std::string_view front() const;
  // Drops the first bytes. Requires: count <= front().size().
  void consume(size_t count);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  static constexpr size_t kBlockBytes = 8 << 10;
  using Block = std::unique_ptr<char[]>;  // [kBlockBytes]

  std::deque<Block> blocks_;
  size_t begin_ = 0;  // of the bytes, in the first block
  size_t size_ = 0;
};

}  // namespace qwin::server
