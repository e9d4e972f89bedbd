// SPDX-License-Identifier: Apache-2.0
// What this machine can do at best, measured: multiply-adds on registers and a front-to-back read of memory.
#pragma once

#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/thread_team.h"
#include "kernels/peak_kernels.h"

namespace qwin {

struct MachineLimits {
  double int8_gmacs = 0;  // 10^9 multiply-adds a second, all threads
  double bf16_gmacs = 0;
  double read_gb_s = 0;  // 10^9 bytes a second, all threads
};

// Not thread-safe. Holds a buffer that no cache holds.
class LimitMeter {
 public:
  // Throws Error(does_not_fit) when the memory for the buffer is not there.
  LimitMeter(CpuIsa isa, int num_threads, std::vector<int> cores);

  // Takes some 0.3 s: the best of a few tries each, since a neighbour can only slow them down.
  MachineLimits measure();

  const char* int8_instruction() const { return kernels_.int8.instruction; }
  const char* bf16_instruction() const { return kernels_.bf16.instruction; }
  // What a LimitMeter will allocate.
  static uint64_t buffer_bytes();

 private:
  double peak_gmacs(const PeakLoop& loop, uint16_t ones);
  double read_gb_s();

  PeakKernels kernels_;
  ThreadTeam team_;
  Buffer memory_;
};

}  // namespace qwin
