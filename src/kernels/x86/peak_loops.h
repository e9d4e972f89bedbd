// SPDX-License-Identifier: Apache-2.0
// The yardsticks of x86, written once over a vector type. An ISA file defines `Peak` (isa-specific vectors and
// multiply-adds) and includes this; all of it is in an unnamed namespace, as in gemm_tiles.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/peak_kernels.h"

namespace qwin {
namespace {

// Hides a register's value from the compiler, which would otherwise do the multiplication once for all loops.
template <typename V>
inline void hide(V& v) {
  asm volatile("" : "+v"(v));
}

// The register loop: kChains accumulators are enough for a latency of 5 cycles on two ports.
template <typename Dot, int kChains>
double peak_loop(const void* operand, uint64_t loops) {
  typename Dot::Acc acc[kChains];
#pragma GCC unroll 32  // in every loop: an array that is indexed at run time would live in memory
  for (int i = 0; i < kChains; ++i) acc[i] = Dot::zero();
  typename Dot::Operand a = Dot::load(operand), b = a;
  hide(b);
  for (uint64_t n = 0; n < loops; ++n) {
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) {
      if constexpr (Dot::kHoistable) hide(a);
      acc[i] = Dot::dot(acc[i], a, b);
      hide(acc[i]);
    }
  }
  double sum = 0;
#pragma GCC unroll 32
  for (int i = 0; i < kChains; ++i) sum += Dot::sum(acc[i]);
  return sum;
}

// kAhead: bytes that lines are requested ahead; 0 leaves it to the hardware's prefetchers. Half lines on purpose: on
// Zen 4 one stream of whole lines reads 44 GB/s, of half lines 65, since the second touch of a line keeps the
// prefetchers going.
template <typename Reader, size_t kAhead>
uint64_t read_sweep(const std::byte* data, size_t bytes) {
  constexpr size_t kVectors = 512 / Reader::kBytes;
  typename Reader::Vector sums[4] = {Reader::zero(), Reader::zero(), Reader::zero(), Reader::zero()};
  for (size_t i = 0; i < bytes; i += 512) {
#pragma GCC unroll 16
    for (size_t j = 0; j < kVectors; ++j) {
      const std::byte* at = data + i + j * Reader::kBytes;
      if (kAhead > 0 && j * Reader::kBytes % 64 == 0) __builtin_prefetch(at + kAhead, 0, 2);
      sums[j % 4] = Reader::exclusive_or(sums[j % 4], Reader::load(at));
    }
  }
  sums[0] = Reader::exclusive_or(Reader::exclusive_or(sums[0], sums[1]), Reader::exclusive_or(sums[2], sums[3]));
  uint64_t words[Reader::kBytes / 8];
  Reader::store(words, sums[0]);
  uint64_t sum = 0;
  for (const uint64_t word : words) sum ^= word;
  return sum;
}

}  // namespace
}  // namespace qwin
