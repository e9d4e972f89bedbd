// SPDX-License-Identifier: Apache-2.0
// What every op needs besides its tensors: the kernels chosen for this CPU and the threads to spread over.
#pragma once

#include <bit>
#include <vector>

#include "core/buffer.h"
#include "core/thread_team.h"
#include "kernels/cpu_kernels.h"

namespace qwin {

// Not thread-safe: one thread owns the context and calls the ops.
struct OpsContext {
  OpsContext(CpuIsa isa, int num_threads, std::vector<int> cores)
      : isa(isa), kernels(make_cpu_kernels(isa)), team(num_threads, std::move(cores)), scratch(num_threads) {}

  bool float32() const { return isa == CpuIsa::float32; }
  // Floats private to a member of the team; grows on first use, so that steps do not allocate.
  float* member_scratch(int member, size_t floats) {
    Buffer& buffer = scratch[member];
    if (buffer.size() < floats * sizeof(float)) buffer = Buffer(floats * sizeof(float));
    return buffer.as<float>();
  }
  // Floats of one op that all members share; grows likewise.
  float* shared_scratch(size_t floats) { return grown<float>(shared, floats); }
  // What memory is read, likewise.
  int32_t* shared_choices(size_t count) { return grown<int32_t>(choices, count); }

  CpuIsa isa;
  CpuKernels kernels;
  ThreadTeam team;
  std::vector<Buffer> scratch;  // [num_threads]
  Buffer shared, choices;

 private:
  template <typename T>
  static T* grown(Buffer& buffer, size_t count) {
    if (buffer.size() < count * sizeof(T)) buffer = Buffer(std::bit_ceil(count) * sizeof(T));
    return buffer.as<T>();
  }
};

}  // namespace qwin
