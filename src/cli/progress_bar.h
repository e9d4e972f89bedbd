// SPDX-License-Identifier: Apache-2.0
// A progress bar on stderr with rate and time left; draws nothing unless stderr is a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace qwin {

// Not thread-safe. The bar is wiped when it goes.
class ProgressBar {
 public:
  // `unit`: what is counted; bytes without one.
  explicit ProgressBar(std::string label, std::string unit = "");
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Cheap to call often: draws at most ten times a second.
  void update(uint64_t done, uint64_t total);
  // Wipes the line so that other text can be written.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  std::string label_, unit_;
  bool terminal_;
  bool drawn_ = false;
  bool started_ = false;
  uint64_t last_done_ = 0;
  double rate_ = 0;  // a second, smoothed
  Clock::time_point last_draw_{};
};

// "491.4 MB", "1.12 GB"
std::string bytes_text(uint64_t bytes);

}  // namespace qwin
