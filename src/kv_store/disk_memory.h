// SPDX-License-Identifier: Apache-2.0
// Memory for KV pages that may be larger than what there is of RAM: a mapped file without a name, on a disk. What was
// used lately lies in the system's cache of files; the rest is written out and given back, and read again when it is
// asked for.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ops/attention.h"

namespace qwin {

// Bytes of files that `directory` can take. Throws Error(io) when it is no directory, or one in memory (tmpfs).
uint64_t free_disk_bytes(const std::string& directory);

// The bytes may be read by any thread; trim() is for one, while nobody reads.
class DiskMemory : public KvFetcher {
 public:
  // Zeroed. The space is reserved, so that a disk that fills up later is no fault here. Throws Error(io), naming the
  // directory.
  DiskMemory(const std::string& directory, uint64_t bytes, uint64_t max_resident_bytes);
  ~DiskMemory();
  DiskMemory(const DiskMemory&) = delete;

  std::byte* data() const { return data_; }
  // What is not in RAM begins to be read, and all of it counts as used. Bytes that are used without a call are there
  // too, but come 4 KiB at a time, and may go first.
  void will_read(const std::byte* data, size_t bytes) override;
  // In RAM, used or not.
  uint64_t resident_bytes() const { return resident_bytes(0, size_); }
  // Gives memory back while more than max_resident_bytes are in RAM. To be called now and then, between steps.
  void trim();

 private:
  uint64_t resident_bytes(uint64_t begin, uint64_t end) const;
  void give_back_unused(uint64_t begin, uint64_t end);
  void drop(uint64_t begin, uint64_t end) const;

  const std::string directory_;
  const uint64_t size_, max_resident_;
  int file_ = -1;
  std::byte* data_ = nullptr;
  std::vector<std::atomic<uint8_t>> pages_;  // of the system: was it asked for, and since the hand came by?
  uint64_t hand_ = 0;                        // of the clock that goes round the file
  uint64_t measured_ = 0;                    // bytes in RAM when it was last measured
  int64_t measured_faults_ = 0;              // of this process until then
  std::atomic<uint64_t> fetched_ = 0;        // bytes asked for since then
};

}  // namespace qwin
