// SPDX-License-Identifier: Apache-2.0
// Which bytes of a file are already there: the file cut into segments, each filled from its start.
// Kept as JSON beside the partial file so that an interrupted download goes on where it stopped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace qwin {

struct Segment {
  uint64_t begin = 0;
  uint64_t end = 0;       // one past the last byte
  uint64_t received = 0;  // bytes from begin that are in the file; 0 … end - begin

  bool complete() const { return begin + received == end; }
};

// What a saved map belongs to. Bytes of another content are never continued.
struct RemoteIdentity {
  uint64_t bytes = 0;
  std::string digest;  // promised checksum, hex
  std::string etag;    // as the server gave it; may be empty
};

class SegmentMap {
 public:
  // Requires: segment_bytes > 0.
  SegmentMap(uint64_t bytes, uint64_t segment_bytes);

  // The saved map when it is whole and of this very content.
  static std::optional<SegmentMap> load(const std::filesystem::path& path, const RemoteIdentity& identity);
  void save(const std::filesystem::path& path, const RemoteIdentity& identity) const;

  std::vector<Segment>& segments() { return segments_; }
  const std::vector<Segment>& segments() const { return segments_; }
  uint64_t received() const;
  bool complete() const;

 private:
  uint64_t segment_bytes_;
  std::vector<Segment> segments_;
};

// 16 MiB, less for a file that would not give every connection some.
uint64_t choose_segment_bytes(uint64_t bytes, int connections);

}  // namespace qwin
