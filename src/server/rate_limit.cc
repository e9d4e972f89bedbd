// SPDX-License-Identifier: Apache-2.0
#include "server/rate_limit.h"

#include <algorithm>

namespace qwin::server {

namespace {
constexpr size_t kMaxBuckets = 10000;
constexpr double kMinute = 60;
}  // namespace

double RateLimit::take(const std::string& client, double now) {
  if (per_minute_ == 0) return 0;
  if (buckets_.size() >= kMaxBuckets) forget_rested(now);
  const auto [entry, fresh] = buckets_.try_emplace(client, Bucket{per_minute_, now});
  Bucket& bucket = entry->second;
  bucket.tokens = std::min(per_minute_, bucket.tokens + (now - bucket.filled_at) * per_minute_ / kMinute);
  bucket.filled_at = now;
  if (bucket.tokens < 1) return (1 - bucket.tokens) * kMinute / per_minute_;
  bucket.tokens -= 1;
  return 0;
}

// A client that made no request for a minute has a full bucket, as one that never came.
void RateLimit::forget_rested(double now) {
  std::erase_if(buckets_, [&](const auto& entry) { return now - entry.second.filled_at >= kMinute; });
}

}  // namespace qwin::server
