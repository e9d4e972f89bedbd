// SPDX-License-Identifier: Apache-2.0
#include "hub/range_transfer.h"

#include <cerrno>
#include <utility>

#include "hub/files.h"

namespace qwin {

RangeTransfer::RangeTransfer(CurlEasy easy, Segment& segment, const Target& target)
    : easy_(std::move(easy)), segment_(segment), target_(target), start_(segment.received) {
  CURL* handle = easy_.get();
  if (target.ranged) {
    const std::string range = std::to_string(segment.begin + segment.received) + "-" + std::to_string(segment.end - 1);
    curl_easy_setopt(handle, CURLOPT_RANGE, range.c_str());
    // A weak tag (W/"…") may not stand in If-Range; it is compared with the answer's all the same.
    if (target.identity.etag.starts_with('"')) {
      request_headers_.reset(curl_slist_append(nullptr, ("If-Range: " + target.identity.etag).c_str()));
      curl_easy_setopt(handle, CURLOPT_HTTPHEADER, request_headers_.get());
    }
  }
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, message_);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(handle, CURLOPT_PRIVATE, this);
}

std::string RangeTransfer::failure(CURLcode code) const {
  if (code == CURLE_OK) return "";
  return *message_ ? message_ : curl_easy_strerror(code);
}

size_t RangeTransfer::on_header(char* data, size_t, size_t size, void* self) {
  static_cast<RangeTransfer*>(self)->headers_.add_line({data, size});
  return size;
}

size_t RangeTransfer::on_body(char* data, size_t, size_t size, void* self) {
  return static_cast<RangeTransfer*>(self)->write(data, size);
}

TransferFault RangeTransfer::check_range() const {
  const RemoteIdentity& identity = target_.identity;
  const auto range = parse_content_range(headers_.get("content-range"));
  if (!range || range->first != segment_.begin + start_ || range->last >= segment_.end) return TransferFault::no_ranges;
  if (range->total != UINT64_MAX && range->total != identity.bytes) return TransferFault::changed;
  return TransferFault::none;
}

TransferFault RangeTransfer::check_headers() const {
  const RemoteIdentity& identity = target_.identity;
  const std::string& etag = headers_.get("etag");
  if (!etag.empty() && !identity.etag.empty() && etag != identity.etag) return TransferFault::changed;
  if (target_.ranged) return headers_.status() == 206 ? check_range() : TransferFault::no_ranges;
  const auto length = headers_.content_length();
  return length && *length != identity.bytes ? TransferFault::wrong_length : TransferFault::none;
}

size_t RangeTransfer::write(const char* data, size_t size) {
  if (!checked_) {
    checked_ = true;
    failed_status_ = headers_.status() != 206 && headers_.status() != 200;
    if (!failed_status_) fault_ = check_headers();
  }
  if (failed_status_) return size;
  if (fault_ == TransferFault::none && size > segment_.end - segment_.begin - segment_.received) {
    fault_ = TransferFault::wrong_length;
  }
  if (fault_ != TransferFault::none) return CURL_WRITEFUNC_ERROR;
  if (!write_at(target_.fd, data, size, segment_.begin + segment_.received)) {
    write_error_ = errno;
    fault_ = TransferFault::write_failed;
    return CURL_WRITEFUNC_ERROR;
  }
  segment_.received += size;
  return size;
}

}  // namespace qwin
