// SPDX-License-Identifier: Apache-2.0
// The yardsticks in plain C++: what the compiler makes of a dot product for the base line of the architecture.
#include <cstring>

#include "kernels/peak_kernels.h"

namespace qwin {

namespace {

constexpr size_t kCount = 256;  // products a loop

// Not inlined: otherwise all loops but the first would be seen to repeat it.
__attribute__((noinline)) int32_t dot_int8(const uint8_t* a, const int8_t* b) {
  int32_t sum = 0;
  for (size_t i = 0; i < kCount; ++i) sum += a[i] * b[i];
  return sum;
}

float widen(uint16_t bf16) {
  const uint32_t bits = uint32_t{bf16} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

__attribute__((noinline)) float dot_bf16(const uint16_t* a, const uint16_t* b) {
  float sums[16] = {};
  for (size_t i = 0; i < kCount; i += 16) {
    for (size_t j = 0; j < 16; ++j) sums[j] += widen(a[i + j]) * widen(b[i + j]);
  }
  float sum = 0;
  for (const float s : sums) sum += s;
  return sum;
}

double peak_int8_reference(const void* operand, uint64_t loops) {
  double sum = 0;
  for (uint64_t i = 0; i < loops; ++i) {
    // Two places in turn: a call with the same arguments could be moved out of the loop.
    const size_t at = i % 2 * kCount;
    sum += dot_int8(static_cast<const uint8_t*>(operand) + at, static_cast<const int8_t*>(operand) + at);
  }
  return sum;
}

double peak_bf16_reference(const void* operand, uint64_t loops) {
  double sum = 0;
  for (uint64_t i = 0; i < loops; ++i) {
    const auto* values = static_cast<const uint16_t*>(operand) + i % 2 * kCount;
    sum += static_cast<double>(dot_bf16(values, values));
  }
  return sum;
}

uint64_t read_sweep_reference(const std::byte* data, size_t bytes) {
  uint64_t sums[4] = {};
  for (size_t i = 0; i < bytes; i += sizeof(sums)) {
    uint64_t words[4];
    std::memcpy(words, data + i, sizeof(words));
    for (int j = 0; j < 4; ++j) sums[j] ^= words[j];
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

}  // namespace

void add_reference_peak(PeakKernels& kernels) {
  kernels.int8 = {"plain C++", kCount, peak_int8_reference};
  kernels.bf16 = {"plain C++", kCount, peak_bf16_reference};
  for (ReadSweepFn& read : kernels.read) read = read_sweep_reference;
}

}  // namespace qwin
