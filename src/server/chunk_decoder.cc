// SPDX-License-Identifier: Apache-2.0
#include "server/chunk_decoder.h"

#include <algorithm>
#include <charconv>

#include "server/http_error.h"

namespace qwin::server {
namespace {

constexpr size_t kMaxLineBytes = 4 << 10;
constexpr size_t kMaxTrailerBytes = 8 << 10;

[[noreturn]] void refuse(const char* what) { throw HttpError::bad_request(std::string("malformed HTTP: ") + what); }

}  // namespace

// Moves bytes into line_; true when the line is whole.
bool ChunkDecoder::take_line(std::string_view input, size_t& used) {
  const size_t end = input.find('\n', used);
  const std::string_view part = input.substr(used, end == std::string_view::npos ? end : end - used);
  if (line_.size() + part.size() > kMaxLineBytes) refuse("a chunk's header or trailer is too long");
  line_ += part;
  used += part.size();
  if (end == std::string_view::npos) return false;
  ++used;
  if (!line_.ends_with('\r')) refuse("a line of a chunk ends in a bare LF");
  line_.pop_back();
  return true;
}

void ChunkDecoder::read_size() {
  const std::string_view digits = std::string_view(line_).substr(0, line_.find_first_of("; \t"));
  uint64_t size = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
  if (fault != std::errc() || end != digits.data() + digits.size() || digits.empty()) refuse("the size of a chunk");
  const size_t rest = line_.find_first_not_of(" \t", digits.size());
  if (rest != std::string::npos && line_[rest] != ';') refuse("the size of a chunk");
  if (line_.find('\r') != std::string::npos) refuse("a bare CR in a chunk's header");
  if (size > static_cast<uint64_t>(max_bytes_ - total_)) {
    throw HttpError(413, "payload_too_large", "the body is larger than allowed");
  }
  left_ = static_cast<int64_t>(size);
  total_ += left_;
  state_ = size == 0 ? State::trailer : State::data;
}

size_t ChunkDecoder::feed(std::string_view input, std::string& body) {
  size_t used = 0;
  while (used < input.size() && state_ != State::done) {
    if (state_ == State::data) {
      const size_t count = std::min(input.size() - used, static_cast<size_t>(left_));
      body += input.substr(used, count);
      used += count;
      left_ -= static_cast<int64_t>(count);
      if (left_ == 0) state_ = State::data_end;
      continue;
    }
    if (!take_line(input, used)) break;
    if (state_ == State::size_line) {
      read_size();
    } else if (state_ == State::data_end) {
      if (!line_.empty()) refuse("a chunk is longer than it says");
      state_ = State::size_line;
    } else if (line_.empty()) {
      state_ = State::done;
    } else if ((trailer_bytes_ += line_.size()) > kMaxTrailerBytes) {
      refuse("the trailer is too long");
    }
    line_.clear();
  }
  return used;
}

}  // namespace qwin::server
