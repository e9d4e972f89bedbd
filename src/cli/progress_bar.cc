// SPDX-License-Identifier: Apache-2.0
#include "cli/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace qwin {
namespace {

constexpr double kSmoothing = 0.1;  // weight of the newest rate
constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr int kMaxBarWidth = 40;

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string time_text(double seconds) {
  const long total = static_cast<long>(std::min(seconds, 359999.0));
  char text[48];
  if (total >= 3600) {
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld:%02ld", total / 60, total % 60);
  }
  return text;
}

}  // namespace

std::string bytes_text(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1000 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : value < 10 ? "%.2f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

ProgressBar::ProgressBar(std::string label, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)), terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressBar::update(uint64_t done, uint64_t total) {
  const Clock::time_point now = Clock::now();
  if (!terminal_ || total == 0 || (started_ && now - last_draw_ < kInterval)) return;
  if (started_ && done >= last_done_) {
    const double seconds = std::chrono::duration<double>(now - last_draw_).count();
    const double newest = static_cast<double>(done - last_done_) / seconds;
    rate_ = rate_ == 0 ? newest : (1 - kSmoothing) * rate_ + kSmoothing * newest;
  }
  started_ = true;
  last_draw_ = now;
  last_done_ = done;
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto shown = [this](uint64_t n) { return unit_.empty() ? bytes_text(n) : std::to_string(n); };
  std::string tail = "  " + shown(done) + " of " + shown(total) + (unit_.empty() ? "" : " " + unit_);
  if (rate_ > 0) {
    if (unit_.empty()) tail += "  " + bytes_text(static_cast<uint64_t>(rate_)) + "/s";
    tail += "  " + time_text(static_cast<double>(total - std::min(done, total)) / rate_) + " left";
  }
  const int room = terminal_width() - static_cast<int>(label_.size() + tail.size()) - 10;
  const int width = std::clamp(room, 0, kMaxBarWidth);
  const int filled = static_cast<int>(share * width);
  const std::string bar =
      std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(width - filled), '.');
  std::fprintf(stderr, "\r\033[K%s [%s] %3.0f%%%s", label_.c_str(), bar.c_str(), share * 100, tail.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressBar::clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace qwin
