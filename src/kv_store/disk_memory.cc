// SPDX-License-Identifier: Apache-2.0
#include "kv_store/disk_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "qwin/error.h"

namespace qwin {

namespace {

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;  // that the hand takes at a time
constexpr uint64_t kTurnBytes = uint64_t{64} << 20;  // and at most between two steps
constexpr uint8_t kFetched = 1, kUsed = 2;           // of a page

[[noreturn]] void fail(const std::string& directory, const std::string& what, int error) {
  throw Error(ErrorCode::io, directory + ": " + what + ": " + std::strerror(error));
}

// A file that goes with its last descriptor, whatever happens to this process.
int open_nameless(const std::string& directory) {
  int file = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) fail(directory, "no file can be made there", errno);
  std::string name = directory + "/qwin_kv.XXXXXX";
  file = mkostemp(name.data(), O_CLOEXEC);
  if (file < 0) fail(directory, "no file can be made there", errno);
  unlink(name.c_str());
  return file;
}

// Pages of 4 KiB that had to be read or made, each by a fault of its own.
int64_t page_faults() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_majflt;
}

uint64_t page_size() {
  static const auto size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

uint64_t whole_pages(uint64_t bytes) { return (bytes + page_size() - 1) / page_size() * page_size(); }

}  // namespace

uint64_t free_disk_bytes(const std::string& directory) {
  struct statfs info = {};
  const int folder = open(directory.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  if (folder < 0) fail(directory, "is no folder for K and V", errno);
  const int failed = fstatfs(folder, &info) != 0 ? errno : 0;
  close(folder);
  if (failed != 0) fail(directory, "is no folder for K and V", failed);
  if (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC) {
    throw Error(ErrorCode::io, directory + ": lies in memory itself (tmpfs); name a folder on a disk for K and V");
  }
  return static_cast<uint64_t>(info.f_bavail) * static_cast<uint64_t>(info.f_bsize);
}

DiskMemory::DiskMemory(const std::string& directory, uint64_t bytes, uint64_t max_resident_bytes)
    : directory_(directory),
      size_(whole_pages(bytes)),
      max_resident_(max_resident_bytes),
      file_(open_nameless(directory)) {
  const int failed = posix_fallocate(file_, 0, static_cast<off_t>(size_));
  if (failed == 0) {
    void* const mapped = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    if (mapped != MAP_FAILED) data_ = static_cast<std::byte*>(mapped);
  }
  if (data_ != nullptr) {
    madvise(data_, size_, MADV_RANDOM);  // what lies beside a piece is another head's
    pages_ = std::vector<std::atomic<uint8_t>>(size_ / page_size());
    return;
  }
  const int error = failed != 0 ? failed : errno;
  close(file_);
  fail(directory, "cannot hold " + std::to_string(bytes) + " bytes of K and V", error);
}

DiskMemory::~DiskMemory() {
  munmap(data_, size_);
  close(file_);
}

uint64_t DiskMemory::resident_bytes(uint64_t begin, uint64_t end) const {
  std::vector<unsigned char> in_memory;
  uint64_t bytes = 0;
  for (; begin < end; begin += kTurnBytes) {
    const uint64_t length = std::min(kTurnBytes, end - begin);
    in_memory.resize(length / page_size());
    if (mincore(data_ + begin, length, in_memory.data()) != 0) fail(directory_, "K and V cannot be looked at", errno);
    bytes += page_size() *
             static_cast<uint64_t>(std::ranges::count_if(in_memory, [](auto flags) { return (flags & 1) != 0; }));
  }
  return bytes;
}

void DiskMemory::will_read(const std::byte* data, size_t bytes) {
  const uint64_t first = static_cast<uint64_t>(data - data_) / page_size();
  const uint64_t end = (static_cast<uint64_t>(data - data_) + bytes + page_size() - 1) / page_size();
  uint64_t missing_begin = end, missing_end = first;
  for (uint64_t page = first; page < end; ++page) {
    const uint8_t state = pages_[page].load(std::memory_order_relaxed);
    if (state == (kFetched | kUsed)) continue;
    pages_[page].store(kFetched | kUsed, std::memory_order_relaxed);
    if ((state & kFetched) != 0) continue;
    missing_begin = std::min(missing_begin, page);
    missing_end = page + 1;
  }
  if (missing_begin >= missing_end) return;
  const uint64_t missing = (missing_end - missing_begin) * page_size();
  madvise(data_ + missing_begin * page_size(), missing, MADV_WILLNEED);
  fetched_.fetch_add(missing, std::memory_order_relaxed);
}

// A second chance for each page: what was used since the hand came by last stays.
void DiskMemory::give_back_unused(uint64_t begin, uint64_t end) {
  constexpr unsigned kWrite = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const auto offset = static_cast<off_t>(begin), length = static_cast<off_t>(end - begin);
  if (sync_file_range(file_, offset, length, kWrite) != 0) fail(directory_, "K and V cannot be written", errno);
  uint64_t unused = begin;  // from here on
  for (uint64_t at = begin; at < end; at += page_size()) {
    const uint8_t state = pages_[at / page_size()].load(std::memory_order_relaxed);
    const bool was_used = (state & kUsed) != 0;
    pages_[at / page_size()].store(was_used ? kFetched : 0, std::memory_order_relaxed);
    if (!was_used) continue;
    drop(unused, at);
    unused = at + page_size();
  }
  drop(unused, end);
}

void DiskMemory::drop(uint64_t begin, uint64_t end) const {
  if (begin >= end) return;
  madvise(data_ + begin, end - begin, MADV_DONTNEED);  // the system keeps what is mapped
  posix_fadvise(file_, static_cast<off_t>(begin), static_cast<off_t>(end - begin), POSIX_FADV_DONTNEED);
}

void DiskMemory::trim() {
  const int64_t faults = page_faults();
  const uint64_t come = static_cast<uint64_t>(faults - measured_faults_) * page_size() + fetched_;
  if (measured_ + come <= max_resident_) return;
  measured_ = resident_bytes();
  fetched_ = 0;
  measured_faults_ = faults;
  // A little at a time, unless it has become too much for that.
  uint64_t turn = measured_ > max_resident_ + max_resident_ / 8 ? 2 * size_ : std::min(kTurnBytes, size_);
  // Writing begins for all of the turn, then each piece is waited for.
  if (measured_ > max_resident_)
    sync_file_range(file_, static_cast<off_t>(hand_), static_cast<off_t>(turn), SYNC_FILE_RANGE_WRITE);
  while (measured_ > max_resident_ && turn > 0) {
    const uint64_t end = std::min(hand_ + kPieceBytes, size_), before = resident_bytes(hand_, end);
    if (before > 0) {
      give_back_unused(hand_, end);
      measured_ -= std::min(measured_, before - std::min(before, resident_bytes(hand_, end)));
    }
    turn -= std::min(turn, end - hand_);
    hand_ = end == size_ ? 0 : end;
  }
}

}  // namespace qwin
