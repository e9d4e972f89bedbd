// SPDX-License-Identifier: Apache-2.0
// Bytes of a connection to requests, without input or output of its own: strict about heads (RFC 9112), bounded in all
// it keeps, linear in what it is given. Beast's parser takes the head apart.
#pragma once

#include <optional>
#include <string>

#include "server/chunk_decoder.h"
#include "server/http_message.h"
#include "server/limits.h"

namespace qwin::server {

class RequestReader {
 public:
  enum class Need { head, body, nothing };

  explicit RequestReader(const Limits& limits) : limits_(limits) {}

  // Takes from the front of `input` what belongs to this request: first the head alone (the result is then no longer
  // `head`), with the next call the body. What follows the request stays in `input`. Throws HttpError when the bytes
  // are no request that is served here; the connection is of no use after that.
  Need feed(std::string& input);

  // With the head from when it is there, with the body when nothing is needed.
  HttpRequest& request() { return request_; }
  // The client waits for "100 Continue" before it sends the body.
  bool expects_continue() const;
  // What the body will hold at most, known from the head: its length, or the limit when it comes in chunks.
  int64_t body_bytes_expected() const { return chunks_ ? limits_.body_bytes : length_; }
  int64_t body_bytes_read() const { return body_bytes_read_; }

 private:
  bool take_head(std::string& input);
  void parse_head(std::string_view head);
  void read_target(std::string_view target);
  void read_framing();
  Need feed_body(std::string& input);

  const Limits& limits_;
  HttpRequest request_;
  size_t scanned_ = 0;  // of the head, found without its end
  bool head_done_ = false;
  int64_t length_ = 0;                  // of the body, when it does not come in chunks
  std::optional<ChunkDecoder> chunks_;  // when it does
  int64_t body_bytes_read_ = 0;         // as they came, framing included
};

}  // namespace qwin::server
