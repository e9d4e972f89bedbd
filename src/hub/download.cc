// SPDX-License-Identifier: Apache-2.0
#include "hub/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "hub/files.h"
#include "hub/http.h"
#include "hub/interrupt.h"
#include "hub/range_transfer.h"
#include "qwin/error.h"

namespace qwin {
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMaxRestarts = 3;
constexpr uint64_t kProgressWorthARetry = 64 << 10;  // less than this in one request counts as a failure
constexpr auto kSaveInterval = std::chrono::seconds(1);

fs::path partial_of(const fs::path& target) { return target.string() + ".partial"; }
fs::path state_of(const fs::path& target) { return target.string() + ".partial.json"; }

Clock::duration backoff(int failures, int retry_after) {
  const auto doubled = std::chrono::milliseconds(250 << std::min(failures, 5));
  return std::max<Clock::duration>(doubled, std::chrono::seconds(retry_after));
}

void wait_until(Clock::time_point when) {
  while (Clock::now() < when) {
    throw_if_interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// How one attempt at the whole file ended.
enum class Outcome { complete, start_over, no_ranges };

// What the first request tells about the file.
struct Probe {
  std::string etag;
  bool ranges = false;
};

class Download {
 public:
  Download(const DownloadRequest& request, const FetchOptions& options, const ProgressFunction& progress)
      : request_(request), options_(options), progress_(progress), multi_(curl_multi_init(), curl_multi_cleanup) {
    if (!multi_) throw std::bad_alloc();
  }
  ~Download() { stop_transfers(); }

  std::string run();

 private:
  // A segment and when it may be asked for again.
  struct Slot {
    Segment* segment;
    bool running = false;
    int failures = 0;  // in a row without progress
    Clock::time_point not_before{};
  };

  Probe probe();
  bool open_partial(const Probe& probe);
  Outcome fetch();
  void start_transfers();
  void reap_transfers();
  void finish(const RangeTransfer& transfer, CURLcode code);
  void settle(Slot& slot, const RangeTransfer& transfer, CURLcode code);
  void note_failure(Slot& slot, const std::string& reason, int retry_after);
  void stop_transfers();
  void save_state();
  std::string verify();
  [[noreturn]] void fail(const std::string& reason) const;

  const DownloadRequest& request_;
  const FetchOptions& options_;
  const ProgressFunction& progress_;
  FileHandle file_;
  RangeTransfer::Target target_;
  SegmentMap map_{0, 1};
  std::vector<Slot> slots_;
  std::unique_ptr<CURLM, CURLMcode (*)(CURLM*)> multi_;
  std::list<std::unique_ptr<RangeTransfer>> transfers_;
  Outcome outcome_ = Outcome::complete;
};

void Download::fail(const std::string& reason) const {
  throw Error(ErrorCode::network, printable_url(request_.url) + ": " + reason);
}

// Asks for one byte: tells whether the server is there, has the file, and can send ranges of it.
Probe Download::probe() {
  std::string reason;
  for (int failures = 0; failures <= options_.retries; ++failures) {
    const HttpResponse response = http_get(request_.url, request_.token, "0-0", options_, 1);
    const HttpHeaders& headers = response.headers;
    const int status = headers.status();
    // A host that cannot be reached at all is given up at once: another source may be there.
    if (response.code == CURLE_COULDNT_RESOLVE_HOST || response.code == CURLE_COULDNT_RESOLVE_PROXY ||
        response.code == CURLE_COULDNT_CONNECT || (response.code == CURLE_OPERATION_TIMEDOUT && status == 0)) {
      fail(response.failure);
    }
    if (response.code == CURLE_OK && (status == 200 || status == 206)) {
      const auto range = parse_content_range(headers.get("content-range"));
      const auto bytes = status == 206 && range ? std::optional(range->total) : headers.content_length();
      if (bytes && *bytes != UINT64_MAX && *bytes != request_.bytes && (status == 200 || range)) {
        fail("has " + std::to_string(*bytes) + " bytes instead of " + std::to_string(request_.bytes));
      }
      return {headers.get("etag"), status == 206 && range && range->first == 0};
    }
    reason = response.code == CURLE_OK ? explain_status(headers, !request_.token.empty()) : response.failure;
    if (response.code == CURLE_OK && !is_temporary_status(status)) fail(reason);
    if (failures < options_.retries) wait_until(Clock::now() + backoff(failures, headers.retry_after()));
  }
  fail(reason);
}

// Opens the partial file and the map of what it already holds; true when there is something to go on from.
bool Download::open_partial(const Probe& probe) {
  const fs::path partial = partial_of(request_.target);
  require_disk_space(request_.target.parent_path(),
                     request_.bytes - std::min(request_.bytes, allocated_bytes(partial)));
  file_ = open_for_update(partial);
  target_.fd = file_.fd();
  target_.identity = {request_.bytes, request_.sha256.empty() ? request_.git_blob_id : request_.sha256, probe.etag};
  target_.ranged = probe.ranges;
  struct stat status;
  if (fstat(file_.fd(), &status) != 0) throw_file_error("read", partial, errno);
  std::optional<SegmentMap> saved;
  if (probe.ranges && static_cast<uint64_t>(status.st_size) == request_.bytes) {
    saved = SegmentMap::load(state_of(request_.target), target_.identity);
  }
  const uint64_t segment_bytes =
      probe.ranges ? choose_segment_bytes(request_.bytes, options_.connections) : request_.bytes;
  map_ = saved ? *saved : SegmentMap(request_.bytes, segment_bytes);
  if (!saved) {
    std::error_code ignored;
    fs::remove(state_of(request_.target), ignored);
    if (ftruncate(file_.fd(), 0) != 0) throw_file_error("truncate", partial, errno);
    // Taken now rather than run out of in the middle; file systems without fallocate get the length alone.
    const off_t bytes = static_cast<off_t>(request_.bytes);
    if (fallocate(file_.fd(), 0, 0, bytes) != 0 && (errno != EOPNOTSUPP || ftruncate(file_.fd(), bytes) != 0)) {
      const int error = errno;
      discard_partial(request_.target);
      throw_file_error("reserve room for", partial, error);
    }
  }
  slots_.clear();
  for (Segment& segment : map_.segments()) slots_.push_back({&segment});
  return saved.has_value() && map_.received() > 0;
}

void Download::save_state() {
  if (!target_.ranged) return;
  // The bytes first: the state must never claim what a power cut could take back.
  if (fdatasync(file_.fd()) != 0) throw_file_error("sync", partial_of(request_.target), errno);
  map_.save(state_of(request_.target), target_.identity);
}

void Download::start_transfers() {
  const size_t limit = target_.ranged ? static_cast<size_t>(options_.connections) : 1;
  for (Slot& slot : slots_) {
    if (transfers_.size() >= limit) return;
    if (slot.running || slot.segment->complete() || Clock::now() < slot.not_before) continue;
    if (!target_.ranged) slot.segment->received = 0;
    transfers_.push_back(
        std::make_unique<RangeTransfer>(make_request(request_.url, request_.token, options_), *slot.segment, target_));
    slot.running = true;
    curl_multi_add_handle(multi_.get(), transfers_.back()->easy());
  }
}

void Download::note_failure(Slot& slot, const std::string& reason, int retry_after) {
  if (slot.failures >= options_.retries) fail(reason + " (" + std::to_string(slot.failures + 1) + " attempts)");
  slot.not_before = Clock::now() + backoff(slot.failures++, retry_after);
}

void Download::settle(Slot& slot, const RangeTransfer& transfer, CURLcode code) {
  const int status = transfer.headers().status();
  switch (transfer.fault()) {
    case TransferFault::changed: outcome_ = Outcome::start_over; return;
    case TransferFault::no_ranges: outcome_ = Outcome::no_ranges; return;
    case TransferFault::write_failed: throw_file_error("write", partial_of(request_.target), transfer.write_error());
    case TransferFault::wrong_length: note_failure(slot, "sends another number of bytes than promised", 0); return;
    case TransferFault::none: break;
  }
  if (slot.segment->complete()) return;
  if (status == 416) {
    outcome_ = Outcome::start_over;  // the file has become shorter
    return;
  }
  if (code == CURLE_OK && status != 200 && status != 206) {
    const std::string reason = explain_status(transfer.headers(), !request_.token.empty());
    if (!is_temporary_status(status)) fail(reason);
    note_failure(slot, reason, transfer.headers().retry_after());
    return;
  }
  if (target_.ranged && transfer.written() >= kProgressWorthARetry) {
    slot.failures = 0;
    return;
  }
  note_failure(slot, code == CURLE_OK ? "sends fewer bytes than promised" : transfer.failure(code), 0);
}

void Download::finish(const RangeTransfer& transfer, CURLcode code) {
  for (Slot& slot : slots_) {
    if (slot.segment != &transfer.segment()) continue;
    slot.running = false;
    settle(slot, transfer, code);
  }
}

void Download::reap_transfers() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    const auto found = std::find_if(transfers_.begin(), transfers_.end(),
                                    [&](const auto& transfer) { return transfer->easy() == message->easy_handle; });
    curl_multi_remove_handle(multi_.get(), (*found)->easy());
    const std::unique_ptr<RangeTransfer> transfer = std::move(*found);
    transfers_.erase(found);
    finish(*transfer, code);
  }
}

void Download::stop_transfers() {
  for (const auto& transfer : transfers_) curl_multi_remove_handle(multi_.get(), transfer->easy());
  transfers_.clear();
}

Outcome Download::fetch() {
  outcome_ = Outcome::complete;
  Clock::time_point last_save = Clock::now();
  try {
    while (!map_.complete() && outcome_ == Outcome::complete) {
      throw_if_interrupted();
      start_transfers();
      int running = 0;
      curl_multi_perform(multi_.get(), &running);
      reap_transfers();
      curl_multi_poll(multi_.get(), nullptr, 0, 100, nullptr);
      if (Clock::now() - last_save > kSaveInterval) {
        save_state();
        last_save = Clock::now();
      }
      progress_(map_.received(), request_.bytes);
    }
  } catch (const Error&) {
    stop_transfers();
    try {
      save_state();
    } catch (const Error&) {
      // The first fault is the one to tell; without the state the next attempt fetches a little more.
    }
    throw;
  }
  stop_transfers();
  if (outcome_ == Outcome::complete) save_state();
  return outcome_;
}

// The SHA-256 of the partial file, or an empty string when its content is not the promised one.
std::string Download::verify() {
  const fs::path partial = partial_of(request_.target);
  const std::string sha256 = sha256_of_file(partial);
  const bool good =
      request_.sha256.empty() ? git_blob_id_of_file(partial) == request_.git_blob_id : sha256 == request_.sha256;
  return good ? sha256 : "";
}

std::string Download::run() {
  bool allow_ranges = true;
  for (int attempt = 0; attempt < kMaxRestarts; ++attempt) {
    Probe probe = this->probe();
    probe.ranges = probe.ranges && allow_ranges;
    const bool resumed = open_partial(probe);
    Outcome outcome = fetch();
    if (outcome == Outcome::no_ranges) {
      allow_ranges = false;
      probe.ranges = false;
      open_partial(probe);
      outcome = fetch();
    }
    if (outcome != Outcome::complete) {
      discard_partial(request_.target);
      continue;
    }
    const std::string sha256 = verify();
    if (!sha256.empty()) {
      publish_file(partial_of(request_.target), request_.target);
      discard_partial(request_.target);
      return sha256;
    }
    discard_partial(request_.target);
    // Bytes of an earlier attempt may be the bad ones: these deserve one fresh try.
    if (!resumed)
      throw Error(ErrorCode::checksum, printable_url(request_.url) + ": the bytes do not match their checksum");
  }
  fail("the file changes while it is being fetched");
}

}  // namespace

void discard_partial(const fs::path& target) {
  std::error_code ignored;
  fs::remove(partial_of(target), ignored);
  fs::remove(state_of(target), ignored);
}

std::string download_file(const DownloadRequest& request, const FetchOptions& options,
                          const ProgressFunction& progress) {
  if (request.bytes == 0) {  // no range of nothing can be asked for
    write_file_atomically(request.target, "");
    return sha256_of_text("");
  }
  return Download(request, options, progress).run();
}

}  // namespace qwin
