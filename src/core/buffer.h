// SPDX-License-Identifier: Apache-2.0
// Buffer owns bytes; everything else views them. Large buffers ask for 2 MiB pages: on Zen 4 that lifts read bandwidth
// from 24-32 to 37-56 GB/s, because a stream of weights misses the TLB on every 4 KiB page otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace qwin {

// Zeroed anonymous memory, aligned to a page (to 2 MiB when at least that big). Movable, not copyable.
class Buffer {
 public:
  Buffer() = default;
  // Throws std::bad_alloc when the system refuses.
  explicit Buffer(size_t size);
  ~Buffer();
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

inline constexpr size_t kHugePageSize = size_t{2} << 20;

}  // namespace qwin
