// SPDX-License-Identifier: Apache-2.0
#include "bench/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/cpu_info.h"
#include "qwin/error.h"

namespace qwin {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTries = 5;
constexpr double kTrySeconds = 0.015;
constexpr uint64_t kLoops = 4096;               // between two looks at the clock
constexpr uint64_t kPiece = uint64_t{1} << 21;  // what a member reads at a time

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

uint64_t LimitMeter::buffer_bytes() { return uint64_t{512} << 20; }

LimitMeter::LimitMeter(CpuIsa isa, int num_threads, std::vector<int> cores)
    : kernels_(make_peak_kernels(isa)), team_(num_threads, std::move(cores)) {
  const uint64_t available = memory_info().available_bytes;
  if (buffer_bytes() > available) {
    throw Error(ErrorCode::does_not_fit, "measuring the memory needs " + std::to_string(buffer_bytes()) + " bytes, " +
                                             std::to_string(available) + " are available");
  }
  memory_ = Buffer(buffer_bytes());
  // Pages that were never written are all the same page of zeros.
  team_.for_each(memory_.size() / kPiece, 1, [&](size_t begin, size_t end, int member) {
    std::memset(memory_.data() + begin * kPiece, member + 1, (end - begin) * kPiece);
  });
}

MachineLimits LimitMeter::measure() {
  constexpr uint16_t kInt8Ones = 0x0101, kBf16One = 0x3f80;
  return {
      .int8_gmacs = peak_gmacs(kernels_.int8, kInt8Ones),
      .bf16_gmacs = peak_gmacs(kernels_.bf16, kBf16One),
      .read_gb_s = read_gb_s(),
  };
}

double LimitMeter::peak_gmacs(const PeakLoop& loop, uint16_t ones) {
  alignas(64) uint16_t operand[kPeakOperandBytes / sizeof(uint16_t)];
  std::ranges::fill(operand, ones);
  std::vector<double> rates(static_cast<size_t>(team_.size()));
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    team_.run([&](int member) {
      const Clock::time_point start = Clock::now();
      uint64_t loops = 0;
      double seconds = 0;
      do {
        loop.run(operand, kLoops);
        loops += kLoops;
        seconds = seconds_since(start);
      } while (seconds < kTrySeconds);
      rates[static_cast<size_t>(member)] = static_cast<double>(loops) * loop.macs / seconds;
    });
    double sum = 0;
    for (const double rate : rates) sum += rate;
    best = std::max(best, sum);
  }
  return best * 1e-9;
}

double LimitMeter::read_gb_s() {
  double best = 0;
  for (int i = 0; i < kTries * kNumReadSweeps; ++i) {
    const ReadSweepFn read = kernels_.read[i % kNumReadSweeps];
    const Clock::time_point start = Clock::now();
    team_.for_each(memory_.size() / kPiece, 1, [&](size_t begin, size_t end, int) {
      read(memory_.data() + begin * kPiece, (end - begin) * kPiece);
    });
    best = std::max(best, static_cast<double>(memory_.size()) / seconds_since(start));
  }
  return best * 1e-9;
}

}  // namespace qwin
