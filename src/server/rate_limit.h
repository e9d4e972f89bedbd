// SPDX-License-Identifier: Apache-2.0
// How many requests a client may make a minute: a bucket of tokens for each, filled steadily.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

namespace qwin::server {

// Not thread-safe. Time is an argument, in seconds from any start.
class RateLimit {
 public:
  // 0: no limit. A client that rested may send a whole minute's requests at once.
  explicit RateLimit(int64_t requests_per_minute) : per_minute_(static_cast<double>(requests_per_minute)) {}

  // 0 when the request may pass, and it is counted; else the seconds after which one may.
  double take(const std::string& client, double now);

 private:
  struct Bucket {
    double tokens = 0;
    double filled_at = 0;
  };
  void forget_rested(double now);

  double per_minute_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace qwin::server
