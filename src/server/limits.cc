// SPDX-License-Identifier: Apache-2.0
#include "server/limits.h"

namespace qwin::server {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int64_t kDay = 86400;

constexpr LimitRow kRows[] = {
    {"--max-body", &Limits::body_bytes, 1024, kGiB, "bytes", "of a request's body; more is 413"},
    {"--max-bodies", &Limits::bodies_bytes, 1024, 64 * kGiB, "bytes", "of all bodies in memory at once; more is 503"},
    {"--max-header-bytes", &Limits::header_bytes, 1024, 64 << 10, "bytes", "of a request's head; more is 431"},
    {"--max-headers", &Limits::header_count, 1, 10000, "", "header fields of a request; more is 431"},
    {"--max-target", &Limits::target_bytes, 64, 60 << 10, "bytes", "of a request's path and query; more is 414"},
    {"--header-timeout", &Limits::header_seconds, 1, kDay, "s", "for a whole head to come; later is 408"},
    {"--body-timeout", &Limits::body_gap_seconds, 1, kDay, "s", "between two parts of a body; later is 408"},
    {"--body-rate", &Limits::body_bytes_per_second, 0, kGiB, "bytes/s",
     "a body must keep up on average; slower is 408"},
    {"--idle-timeout", &Limits::idle_seconds, 1, kDay, "s", "a connection may wait for its next request"},
    {"--max-connections", &Limits::connections, 1, 1 << 20, "", "open at once; more get 503"},
    {"--max-json-depth", &Limits::json_depth, 4, 200, "", "levels of a body's JSON; more is 400"},
    {"--max-choices", &Limits::choices, 1, 128, "", "answers to one prompt (n); more is 400"},
    {"--max-prompts", &Limits::prompts, 1, 4096, "", "prompts in one completion request; more is 400"},
    {"--max-stop-strings", &Limits::stop_strings, 1, 16, "", "stop strings of a request; more is 400"},
    {"--max-stop-bytes", &Limits::stop_bytes, 1, 256, "bytes", "of a stop string; more is 400"},
    {"--max-logit-bias", &Limits::logit_bias, 0, 300, "", "tokens in logit_bias; more is 400"},
    {"--stream-buffer", &Limits::stream_buffer_bytes, 4096, 16 << 20, "bytes",
     "of a stream its reader has not taken; a full one takes its request out of the running set"},
    {"--socket-buffer", &Limits::socket_buffer_bytes, 8192, 16 << 20, "bytes", "the system holds for one reader"},
    {"--stall-timeout", &Limits::stall_seconds, 1, kDay, "s", "a reader has to take --stall-bytes, or it is closed"},
    {"--stall-bytes", &Limits::stall_bytes, 1, 1 << 20, "bytes", "see --stall-timeout"},
    {"--ping-interval", &Limits::ping_seconds, 1, kDay, "s", "of silence before a stream gets a comment"},
    {"--request-timeout", &Limits::request_seconds, 1, 7 * kDay, "s",
     "from a request's arrival to its end, and the longest wait in the queue that is accepted"},
    {"--rate-limit", &Limits::requests_per_minute, 0, 1000000, "",
     "generating requests a key, or an address, may make a minute; more get 429; 0: any number"},
    {"--drain-timeout", &Limits::drain_seconds, 0, kDay, "s", "running requests may go on after SIGTERM"},
    {"--max-sessions", &Limits::sessions, 1, 10000000, "", "conversations kept for one key; the oldest is dropped"},
};

std::string value_text(int64_t value, const std::string& unit) {
  if (unit == "bytes" && value >= 1 << 20 && value % (1 << 20) == 0) return std::to_string(value >> 20) + " MiB";
  if (unit == "bytes" && value >= 1 << 10 && value % (1 << 10) == 0) return std::to_string(value >> 10) + " KiB";
  return unit.empty() ? std::to_string(value) : std::to_string(value) + " " + unit;
}

}  // namespace

std::span<const LimitRow> limit_rows() { return kRows; }

std::string limits_markdown() {
  std::string table = "| flag | default | limits |\n|---|---|---|\n";
  for (const LimitRow& row : kRows) {
    table += std::string("| `") + row.flag + "` | " + value_text(Limits{}.*row.value, row.unit) + " | " + row.meaning +
             " |\n";
  }
  return table;
}

}  // namespace qwin::server
