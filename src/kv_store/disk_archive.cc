// SPDX-License-Identifier: Apache-2.0
#include "kv_store/disk_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <future>

#include "kv_store/page_file.h"
#include "qwin/error.h"

namespace qwin {

namespace {

// Pages waiting to be written, and never more than the directory may hold; what comes while the disk is slower than
// that is not kept.
constexpr uint64_t kMaxQueuedBytes = uint64_t{128} << 20;

}  // namespace

DiskArchive::DiskArchive(DiskArchiveOptions options) : options_(std::move(options)) {
  std::error_code error;
  std::filesystem::create_directories(options_.directory, error);
  if (error) throw Error(ErrorCode::io, "cache directory " + options_.directory.string() + ": " + error.message());
  ::chmod(options_.directory.c_str(), 0700);  // K and V tell what was said
  scan();
  thread_ = std::thread([this] { work(); });
}

DiskArchive::~DiskArchive() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void DiskArchive::scan() {
  struct Found {
    std::filesystem::file_time_type time;
    PageDigest digest;
    PageFileHeader header;
    uint64_t bytes;
  };
  std::vector<Found> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(options_.directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::filesystem::path& path = it->path();
    const std::optional<PageDigest> digest = page_file_digest(path.filename().string());
    if (!digest) {
      // A write that a crash cut short.
      if (path.extension() == kPageFilePart) std::filesystem::remove(path, error);
      continue;
    }
    std::error_code ignored;
    const auto time = std::filesystem::last_write_time(path, ignored);
    const PageFile file(path);
    std::string reason = file.error();
    std::optional<PageFileHeader> header;
    if (reason.empty()) header = file.header(reason);
    if (header && child(header->parent, header->tokens) != *digest) reason = "name";
    if (reason.empty()) {
      found.push_back({time, *digest, std::move(*header), file.size()});
    } else {
      ++stats_.rejected[reason];
      std::filesystem::remove(path, ignored);
    }
  }
  if (error) throw Error(ErrorCode::io, "cache directory " + options_.directory.string() + ": " + error.message());
  std::ranges::sort(found, {}, &Found::time);
  for (Found& f : found)
    add(f.digest, {.parent = f.header.parent, .tokens = std::move(f.header.tokens), .bytes = f.bytes});
  make_room(0);
}

std::filesystem::path DiskArchive::path_of(const PageDigest& digest) const {
  return options_.directory / page_file_name(digest);
}

PageDigest DiskArchive::root(const CachePlan& plan) const {
  // Lengths keep the parts apart: no two plans or identities give the same text.
  std::string text = std::to_string(options_.identity.size()) + ":" + options_.identity +
                     std::to_string(plan.salt.size()) + ":" + plan.salt + ":" + std::to_string(plan.window) + ":" +
                     std::to_string(plan.num_sinks) + ":" + std::to_string(plan.memory_top_k) + ":" +
                     std::to_string(plan.hybrid_from);
  if (plan.global_heads > 0) text += ":heads " + std::to_string(plan.global_heads);
  if (!plan.global_parts.empty()) text += ":parts";
  for (const int32_t part : plan.global_parts) text += " " + std::to_string(part);
  return sha256(std::as_bytes(std::span(text)));
}

PageDigest DiskArchive::child(const PageDigest& parent, std::span<const int32_t> tokens) const {
  std::vector<std::byte> text(parent.size() + tokens.size_bytes());
  std::memcpy(text.data(), parent.data(), parent.size());
  std::memcpy(text.data() + parent.size(), tokens.data(), tokens.size_bytes());
  return sha256(text);
}

std::optional<PageArchive::Match> DiskArchive::find(const PageDigest& parent, std::span<const int32_t> tokens) {
  const std::lock_guard lock(mutex_);
  std::optional<Match> best;
  const auto [begin, end] = children_.equal_range(parent);
  for (auto it = begin; it != end; ++it) {
    const std::vector<int32_t>& other = entries_.at(it->second).tokens;
    const auto agree = std::mismatch(other.begin(), other.end(), tokens.begin(), tokens.end()).first - other.begin();
    if (agree > 0 && (!best || agree > best->num_tokens)) best = Match{it->second, agree};
  }
  return best;
}

size_t DiskArchive::load(std::span<const PageFetch> fetches) {
  std::vector<Expected> expected;
  {
    const std::lock_guard lock(mutex_);
    for (const PageFetch& fetch : fetches) {
      const auto entry = entries_.find(fetch.digest);
      if (entry == entries_.end()) break;
      expected.push_back({fetch, entry->second.parent, entry->second.tokens});
    }
  }
  std::vector<std::future<std::string>> reasons;
  for (const Expected& one : expected) {
    reasons.push_back(std::async(std::launch::async, [this, &one] { return read(one); }));
  }
  size_t num_loaded = 0;
  bool all_loaded = true;
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string reason = reasons[i].get();
    const std::lock_guard lock(mutex_);
    if (!entries_.contains(expected[i].fetch.digest)) {  // made room meanwhile
      all_loaded = false;
    } else if (!reason.empty()) {
      all_loaded = false;
      ++stats_.rejected[reason];
      remove(expected[i].fetch.digest);
    } else if (all_loaded) {
      use(expected[i].fetch.digest);
      ++num_loaded;
    }
  }
  return num_loaded;
}

std::string DiskArchive::read(const Expected& expected) const {
  const PageFile file(path_of(expected.fetch.digest));
  std::string reason = file.error();
  if (!reason.empty()) return reason;
  const std::optional<PageFileHeader> header = file.header(reason);
  if (!header) return reason;
  if (header->parent != expected.parent || header->tokens != expected.tokens) return "tokens";
  return file.read_payload(*header, options_.page_bytes(expected.fetch.page));
}

void DiskArchive::store(const PageDigest& parent, std::span<const int32_t> tokens, int32_t page) {
  const PageDigest digest = child(parent, tokens);
  const std::span<const std::byte> payload = options_.page_bytes(page);
  const uint64_t most_queued = std::min(kMaxQueuedBytes, options_.max_bytes);
  {
    const std::lock_guard lock(mutex_);
    if (entries_.contains(digest)) return use(digest);
    if (queued_.contains(digest) || queued_bytes_ + payload.size() > most_queued) return;
    queue_.push_back({digest, parent, {tokens.begin(), tokens.end()}, {payload.begin(), payload.end()}});
    queued_.insert(digest);
    queued_bytes_ += payload.size();
  }
  changed_.notify_all();
}

DiskArchiveStats DiskArchive::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void DiskArchive::flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return queued_.empty(); });
}

void DiskArchive::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stops_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    const uint64_t bytes = page_file_size(job.tokens.size(), job.payload.size());
    const bool fits = bytes <= options_.max_bytes;
    if (fits) make_room(bytes);
    lock.unlock();
    const bool written = fits && write_page_file(options_.directory, job.digest, {job.parent, job.tokens}, job.payload);
    lock.lock();
    queued_.erase(job.digest);
    queued_bytes_ -= job.payload.size();
    if (written) {
      add(job.digest, {.parent = job.parent, .tokens = std::move(job.tokens), .bytes = bytes});
    } else if (fits) {
      ++stats_.write_errors;
    }
    changed_.notify_all();
  }
}

// ---- the index; the mutex is held

void DiskArchive::add(const PageDigest& digest, Entry entry) {
  entry.last_use = ++num_uses_;
  entry.num_children = static_cast<int64_t>(children_.count(digest));
  stats_.bytes += entry.bytes;
  children_.emplace(entry.parent, digest);
  if (entry.num_children == 0) leaves_.insert({entry.last_use, digest});
  if (const auto parent = entries_.find(entry.parent); parent != entries_.end() && parent->second.num_children++ == 0) {
    leaves_.erase({parent->second.last_use, entry.parent});
  }
  entries_.emplace(digest, std::move(entry));
}

void DiskArchive::remove(const PageDigest& digest) {
  const auto found = entries_.find(digest);
  const Entry entry = std::move(found->second);
  entries_.erase(found);
  leaves_.erase({entry.last_use, digest});
  const auto [begin, end] = children_.equal_range(entry.parent);
  children_.erase(std::find_if(begin, end, [&](const auto& child) { return child.second == digest; }));
  if (const auto parent = entries_.find(entry.parent); parent != entries_.end() && --parent->second.num_children == 0) {
    leaves_.insert({parent->second.last_use, entry.parent});
  }
  stats_.bytes -= entry.bytes;
  std::error_code ignored;
  std::filesystem::remove(path_of(digest), ignored);
}

void DiskArchive::use(const PageDigest& digest) {
  Entry& entry = entries_.at(digest);
  const bool is_leaf = leaves_.erase({entry.last_use, digest}) > 0;
  entry.last_use = ++num_uses_;
  if (is_leaf) leaves_.insert({entry.last_use, digest});
  // The next start sorts by it.
  ::utimensat(AT_FDCWD, path_of(digest).c_str(), nullptr, 0);
}

void DiskArchive::make_room(uint64_t bytes) {
  while (stats_.bytes + bytes > options_.max_bytes && !leaves_.empty()) {
    const PageDigest oldest = leaves_.begin()->second;
    remove(oldest);
  }
}

}  // namespace qwin
