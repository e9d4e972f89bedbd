// SPDX-License-Identifier: Apache-2.0
// One HTTP request that fills a segment of a file; what the server sends is checked before it is written.
#pragma once

#include <optional>
#include <string>

#include "hub/http.h"
#include "hub/segment_map.h"

namespace qwin {

// Why a transfer gave up on its own.
enum class TransferFault {
  none,
  changed,       // the content is not the one we began with
  no_ranges,     // the server does not do what a range request asks
  wrong_length,  // more or fewer bytes announced or sent than promised
  write_failed,  // errno in write_error
};

class RangeTransfer {
 public:
  struct Target {
    int fd = -1;
    RemoteIdentity identity;
    bool ranged = true;  // false: the whole file in one answer
  };

  // `segment` and `target` must outlive the transfer. In ranged mode it asks for what the segment still lacks.
  RangeTransfer(CurlEasy easy, Segment& segment, const Target& target);
  RangeTransfer(const RangeTransfer&) = delete;

  CURL* easy() const { return easy_.get(); }
  Segment& segment() const { return segment_; }
  const HttpHeaders& headers() const { return headers_; }
  TransferFault fault() const { return fault_; }
  int write_error() const { return write_error_; }
  uint64_t written() const { return segment_.received - start_; }
  // Text of the failure for the user; empty when libcurl saw none.
  std::string failure(CURLcode code) const;

 private:
  static size_t on_header(char* data, size_t, size_t size, void* self);
  static size_t on_body(char* data, size_t, size_t size, void* self);
  TransferFault check_headers() const;
  TransferFault check_range() const;
  size_t write(const char* data, size_t size);

  CurlEasy easy_;
  Segment& segment_;
  const Target& target_;
  CurlList request_headers_;
  HttpHeaders headers_;
  uint64_t start_;  // segment.received when the request began
  bool checked_ = false;
  bool failed_status_ = false;  // a body that only explains an error
  TransferFault fault_ = TransferFault::none;
  int write_error_ = 0;
  char message_[CURL_ERROR_SIZE] = "";
};

}  // namespace qwin
