// SPDX-License-Identifier: Apache-2.0
// The yardsticks must do the work they claim: ones multiplied with ones add up to the number of multiply-adds.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/buffer.h"
#include "core/cpu_info.h"
#include "kernels/peak_kernels.h"

namespace qwin {

namespace {

std::vector<CpuIsa> rungs() {
  std::vector<CpuIsa> found;
  for (int i = static_cast<int>(CpuIsa::reference); i <= static_cast<int>(detect_cpu_isa()); ++i) {
    const CpuIsa isa = static_cast<CpuIsa>(i);
#if defined(__x86_64__)
    if (isa == CpuIsa::avx2_vnni && !__builtin_cpu_supports("avxvnni")) continue;
#endif
    found.push_back(isa);
  }
  return found;
}

void expect_claimed_work(const PeakLoop& loop, uint16_t ones, CpuIsa isa) {
  alignas(64) uint16_t operand[kPeakOperandBytes / 2];
  std::ranges::fill(operand, ones);
  for (const uint64_t loops : {0, 1, 7, 4096}) {
    EXPECT_EQ(loop.run(operand, loops), static_cast<double>(loops) * loop.macs)
        << cpu_isa_name(isa) << ": " << loop.instruction;
  }
}

TEST(PeakKernelsTest, EveryRungDoesTheWorkItClaims) {
  for (const CpuIsa isa : rungs()) {
    const PeakKernels kernels = make_peak_kernels(isa);
    expect_claimed_work(kernels.int8, 0x0101, isa);
    expect_claimed_work(kernels.bf16, 0x3f80, isa);
  }
}

TEST(PeakKernelsTest, EverySweepReadsEveryWordOnce) {
  constexpr size_t kWords = 4096 / 8;
  Buffer memory(4096 + 512);
  auto* words = memory.as<uint64_t>();
  for (size_t i = 0; i < memory.size() / 8; ++i) words[i] = (i + 1) * 0x9e3779b97f4a7c15u;
  uint64_t expected = 0;
  for (size_t i = 0; i < kWords; ++i) expected ^= words[i];
  for (const CpuIsa isa : rungs()) {
    for (const ReadSweepFn read : make_peak_kernels(isa).read) {
      EXPECT_EQ(read(memory.data(), 4096), expected) << cpu_isa_name(isa);
      EXPECT_EQ(read(memory.data(), 0), 0u) << cpu_isa_name(isa);
    }
  }
}

TEST(PeakKernelsTest, OperandsAreRead) {
  alignas(64) int8_t operand[kPeakOperandBytes];
  std::ranges::fill(operand, int8_t{3});
  for (const CpuIsa isa : rungs()) {
    const PeakKernels kernels = make_peak_kernels(isa);
    EXPECT_EQ(kernels.int8.run(operand, 2), 9 * 2 * kernels.int8.macs) << cpu_isa_name(isa);
  }
}

}  // namespace

}  // namespace qwin
