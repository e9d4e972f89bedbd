// SPDX-License-Identifier: Apache-2.0
// Memory for kernels under test: the array ends at a page that may not be touched, so that reading or writing past the
// end stops the test in every build, and the start is only as aligned as the length makes it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <utility>

namespace qwin {

template <typename T>
class GuardedArray {
 public:
  GuardedArray() = default;
  explicit GuardedArray(size_t count) : size_(count) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = (count * sizeof(T) + page - 1) / page * page;
    mapped_ = bytes + page;
    void* base = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::byte*>(base);
    mprotect(base_ + bytes, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(base_ + bytes) - count;
  }
  ~GuardedArray() {
    if (base_ != nullptr) munmap(base_, mapped_);
  }
  GuardedArray(GuardedArray&& other) noexcept { swap(other); }
  GuardedArray& operator=(GuardedArray&& other) noexcept {
    swap(other);
    return *this;
  }

  T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) const { return data_[i]; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }

  // A copy with a guard page of its own.
  GuardedArray clone() const {
    GuardedArray copy(size_);
    if (size_ > 0) std::memcpy(copy.data_, data_, size_ * sizeof(T));
    return copy;
  }

 private:
  void swap(GuardedArray& other) {
    std::swap(base_, other.base_);
    std::swap(mapped_, other.mapped_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  std::byte* base_ = nullptr;
  size_t mapped_ = 0;
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace qwin
