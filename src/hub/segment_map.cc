// SPDX-License-Identifier: Apache-2.0
#include "hub/segment_map.h"

#include <algorithm>

#include "hub/files.h"
#include "io/json.h"

namespace qwin {
namespace {

constexpr int kStateVersion = 1;
constexpr uint64_t kMaxSegmentBytes = uint64_t{16} << 20;
constexpr uint64_t kMinSegmentBytes = uint64_t{1} << 20;
constexpr size_t kMaxStateBytes = size_t{4} << 20;

}  // namespace

SegmentMap::SegmentMap(uint64_t bytes, uint64_t segment_bytes) : segment_bytes_(segment_bytes) {
  for (uint64_t begin = 0; begin < bytes; begin += segment_bytes) {
    segments_.push_back({begin, begin + std::min(segment_bytes, bytes - begin), 0});
  }
}

uint64_t SegmentMap::received() const {
  uint64_t sum = 0;
  for (const Segment& segment : segments_) sum += segment.received;
  return sum;
}

bool SegmentMap::complete() const {
  return std::all_of(segments_.begin(), segments_.end(), [](const Segment& segment) { return segment.complete(); });
}

std::optional<SegmentMap> SegmentMap::load(const std::filesystem::path& path, const RemoteIdentity& identity) {
  const std::string text = read_small_file(path, kMaxStateBytes);
  if (text.empty()) return std::nullopt;
  try {
    const Json json = parse_json(text, "download state", ErrorCode::io);
    const bool same =
        json.at("version").get<int>() == kStateVersion && json.at("bytes").get<uint64_t>() == identity.bytes &&
        json.at("digest").get<std::string>() == identity.digest && json.at("etag").get<std::string>() == identity.etag;
    const uint64_t segment_bytes = json.at("segment_bytes").get<uint64_t>();
    if (!same || segment_bytes < kMinSegmentBytes || segment_bytes > kMaxSegmentBytes) return std::nullopt;
    SegmentMap map(identity.bytes, segment_bytes);
    const Json& received = json.at("received");
    if (!received.is_array() || received.size() != map.segments_.size()) return std::nullopt;
    for (size_t i = 0; i < map.segments_.size(); ++i) {
      Segment& segment = map.segments_[i];
      segment.received = received[i].get<uint64_t>();
      if (segment.received > segment.end - segment.begin) return std::nullopt;
    }
    return map;
  } catch (const std::exception&) {
    return std::nullopt;  // unreadable state: the download starts over
  }
}

void SegmentMap::save(const std::filesystem::path& path, const RemoteIdentity& identity) const {
  Json received = Json::array();
  for (const Segment& segment : segments_) received.push_back(segment.received);
  const Json json = {{"version", kStateVersion}, {"bytes", identity.bytes},         {"digest", identity.digest},
                     {"etag", identity.etag},    {"segment_bytes", segment_bytes_}, {"received", received}};
  write_file_atomically(path, json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

uint64_t choose_segment_bytes(uint64_t bytes, int connections) {
  const uint64_t share = bytes / static_cast<uint64_t>(std::max(connections, 1)) + 1;
  return std::clamp(share, kMinSegmentBytes, kMaxSegmentBytes);
}

}  // namespace qwin
