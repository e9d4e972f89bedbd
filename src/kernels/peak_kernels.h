// SPDX-License-Identifier: Apache-2.0
// What the instructions of a rung can do at best: the yardsticks of `qwin bench`. No model runs these.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cpu_isa.h"

namespace qwin {

inline constexpr size_t kPeakOperandBytes = 1024;  // the largest operand: one AMX tile

// Multiplies `operand` with itself into independent accumulators, `loops` times, on registers alone, and returns the
// sum of all accumulators. An operand of ones (int8 1, bf16 1.0) makes that loops * macs: so tests can see that the
// claimed work is done. Requires: 64-byte alignment, loops <= 2^18 (float32 accumulators stay exact).
using PeakLoopFn = double (*)(const void* operand, uint64_t loops);

struct PeakLoop {
  const char* instruction;  // "vpdpbusd zmm"
  double macs;              // multiply-adds a loop
  PeakLoopFn run;
};

// The exclusive-or of all 8-byte words, read front to back. Requires: 64-byte alignment, a multiple of 512 bytes.
using ReadSweepFn = uint64_t (*)(const std::byte* data, size_t bytes);
inline constexpr int kNumReadSweeps = 2;

struct PeakKernels {
  PeakLoop int8;  // u8 * s8 into int32
  PeakLoop bf16;  // into float32; where no instruction takes bf16, the float32 multiply-add it would be widened for
  ReadSweepFn read[kNumReadSweeps];  // two ways of reading; which is faster depends on the processor
};

// The yardsticks of the highest rung at or below `max_isa`. Requires: the CPU runs it.
PeakKernels make_peak_kernels(CpuIsa max_isa);

// Fill in what a rung adds; later rungs overwrite earlier ones.
void add_reference_peak(PeakKernels& kernels);
void add_avx2_peak(PeakKernels& kernels);
void add_avx2_vnni_peak(PeakKernels& kernels);
void add_avx512_peak(PeakKernels& kernels);
void add_avx512_vnni_peak(PeakKernels& kernels);
void add_avx512_bf16_peak(PeakKernels& kernels);
void add_amx_peak(PeakKernels& kernels);

}  // namespace qwin
