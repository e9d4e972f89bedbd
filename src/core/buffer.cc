// SPDX-License-Identifier: Apache-2.0
#include "core/buffer.h"

#include <sys/mman.h>

#include <new>

namespace qwin {

namespace {

std::byte* map_anonymous(size_t size) {
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(p);
}

size_t round_up(size_t value, size_t alignment) { return (value + alignment - 1) / alignment * alignment; }

}  // namespace

Buffer::Buffer(size_t size) : size_(size) {
  if (size == 0) return;
  if (size < kHugePageSize) {
    data_ = map_anonymous(size);
    return;
  }
  // Map 2 MiB more than needed and give back the ends, so that the kernel can use whole huge pages.
  const size_t wanted = round_up(size, kHugePageSize);
  std::byte* base = map_anonymous(wanted + kHugePageSize);
  const size_t head = round_up(reinterpret_cast<uintptr_t>(base), kHugePageSize) - reinterpret_cast<uintptr_t>(base);
  if (head > 0) munmap(base, head);
  data_ = base + head;
  if (const size_t tail = kHugePageSize - head; tail > 0) munmap(data_ + wanted, tail);
  madvise(data_, wanted, MADV_HUGEPAGE);  // where huge pages are off this fails and 4 KiB pages serve
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  munmap(data_, size_ < kHugePageSize ? size_ : round_up(size_, kHugePageSize));
}

}  // namespace qwin
