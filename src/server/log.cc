// SPDX-License-Identifier: Apache-2.0
#include "server/log.h"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>

namespace qwin::server {
namespace {

LogLevel level_wanted() {
  const char* name = std::getenv("QWIN_LOG");
  const std::string_view text = name ? name : "info";
  if (text == "debug") return LogLevel::debug;
  return text == "warn" ? LogLevel::warn : LogLevel::info;
}

std::string utc_now() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const size_t length = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof(text) - length, ".%03dZ", static_cast<int>(ms));
  return text;
}

}  // namespace

bool log_enabled(LogLevel level) {
  static const LogLevel wanted = level_wanted();
  return level >= wanted;
}

void write_log(LogLevel level, std::string_view event, std::string_view more) {
  if (!log_enabled(level)) return;
  static constexpr const char* kNames[] = {"debug", "info", "warn"};
  std::string line = "{\"time\":\"" + utc_now() + "\",\"level\":\"" + kNames[static_cast<int>(level)] + "\",\"event\":";
  append_json_string(line, event);
  line += more;
  line += "}\n";
  // One write a line, so that lines of several threads do not mix. A log that cannot take a line stops nothing.
  pollfd state{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&state, 1, 0) <= 0) return;
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

std::string printable_ascii(std::string_view text, size_t max_bytes) {
  std::string shown(text.substr(0, max_bytes));
  for (char& c : shown) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return shown;
}

}  // namespace qwin::server
