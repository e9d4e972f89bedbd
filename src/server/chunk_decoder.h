// SPDX-License-Identifier: Apache-2.0
// The chunked coding of HTTP/1.1 bodies, read strictly (RFC 9112, 7.1). Linear, and bounded in all it keeps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qwin::server {

class ChunkDecoder {
 public:
  explicit ChunkDecoder(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // Appends to `body` what the bytes of `input` hold and returns how many of them were used. Throws HttpError 400 for
  // anything malformed, 413 when the body would have more than max_bytes.
  size_t feed(std::string_view input, std::string& body);
  bool done() const { return state_ == State::done; }

 private:
  enum class State { size_line, data, data_end, trailer, done };

  bool take_line(std::string_view input, size_t& used);
  void read_size();

  int64_t max_bytes_;
  State state_ = State::size_line;
  std::string line_;  // of framing, so far, without its CRLF
  int64_t left_ = 0;  // of the chunk
  int64_t total_ = 0;
  size_t trailer_bytes_ = 0;
};

}  // namespace qwin::server
