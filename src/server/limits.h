// SPDX-License-Identifier: Apache-2.0
// What a client may ask for and how long it may take. One table gives the flags of `qwin serve`, their help and the
// table in docs/serving_api.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace qwin::server {

struct Limits {
  int64_t body_bytes = 16 << 20;
  int64_t bodies_bytes = 256 << 20;
  int64_t header_bytes = 16 << 10;
  int64_t header_count = 100;
  int64_t target_bytes = 8 << 10;
  int64_t header_seconds = 10;
  int64_t body_gap_seconds = 15;
  int64_t body_bytes_per_second = 100;
  int64_t idle_seconds = 75;
  int64_t connections = 4096;
  int64_t json_depth = 64;
  int64_t choices = 8;
  int64_t prompts = 64;
  int64_t stop_strings = 16;
  int64_t stop_bytes = 256;
  int64_t logit_bias = 300;
  int64_t stream_buffer_bytes = 64 << 10;
  int64_t socket_buffer_bytes = 64 << 10;
  int64_t stall_seconds = 30;
  int64_t stall_bytes = 1 << 10;
  int64_t ping_seconds = 15;
  int64_t request_seconds = 600;
  int64_t requests_per_minute = 0;
  int64_t drain_seconds = 30;
  int64_t sessions = 10000;
};

struct LimitRow {
  const char* flag;
  int64_t Limits::* value;
  int64_t low, high;
  const char* unit;
  const char* meaning;
};

std::span<const LimitRow> limit_rows();
// The table as it stands in docs/serving_api.md.
std::string limits_markdown();

}  // namespace qwin::server
