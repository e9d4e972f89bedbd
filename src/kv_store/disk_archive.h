// SPDX-License-Identifier: Apache-2.0
// Pages of the prefix cache on disk: one file a page, named by the SHA-256 of its parent's name and its tokens, written
// by a thread of its own (temporary file, fsync, rename), verified before use. Any doubt is a miss and removes the
// file.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kv_cache/page_archive.h"

namespace qwin {

struct DiskArchiveOptions {
  std::filesystem::path directory;
  uint64_t max_bytes = 0;
  std::string identity;  // of all that K and V depend on besides tokens and plan: model, KV type, layout, version
  std::function<std::span<std::byte>(int32_t page)> page_bytes;
};

struct DiskArchiveStats {
  uint64_t bytes = 0;
  uint64_t write_errors = 0;
  std::map<std::string, uint64_t> rejected;  // by reason
};

// Thread-safe. Several processes may share a directory: whatever another one removes or replaces is a miss here.
class DiskArchive : public PageArchive {
 public:
  // Indexes what is there. Throws Error(io) when the directory cannot be made or read.
  explicit DiskArchive(DiskArchiveOptions options);
  // Writes what is queued.
  ~DiskArchive() override;

  PageDigest root(const CachePlan& plan) const override;
  PageDigest child(const PageDigest& parent, std::span<const int32_t> tokens) const override;
  std::optional<Match> find(const PageDigest& parent, std::span<const int32_t> tokens) override;
  // Files are read and verified side by side.
  size_t load(std::span<const PageFetch> fetches) override;
  void store(const PageDigest& parent, std::span<const int32_t> tokens, int32_t page) override;

  DiskArchiveStats stats() const;
  // Waits until nothing is queued.
  void flush();

 private:
  struct Entry {
    PageDigest parent;
    std::vector<int32_t> tokens;
    uint64_t bytes = 0;
    uint64_t last_use = 0;
    int64_t num_children = 0;
  };
  struct Job {
    PageDigest digest, parent;
    std::vector<int32_t> tokens;
    std::vector<std::byte> payload;
  };

  struct Expected {
    PageFetch fetch;
    PageDigest parent;
    std::vector<int32_t> tokens;
  };

  std::filesystem::path path_of(const PageDigest& digest) const;
  // The reason why not, or empty.
  std::string read(const Expected& expected) const;
  void scan();
  void add(const PageDigest& digest, Entry entry);
  // Takes an entry out of the index and its file off the disk.
  void remove(const PageDigest& digest);
  void use(const PageDigest& digest);
  void make_room(uint64_t bytes);
  void work();

  const DiskArchiveOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<PageDigest, Entry> entries_;
  std::multimap<PageDigest, PageDigest> children_;
  std::set<std::pair<uint64_t, PageDigest>> leaves_;  // last use, without children: the first one goes first
  std::deque<Job> queue_;
  std::set<PageDigest> queued_;
  uint64_t queued_bytes_ = 0, num_uses_ = 0;
  DiskArchiveStats stats_;
  bool stops_ = false;
  std::thread thread_;
};

}  // namespace qwin
