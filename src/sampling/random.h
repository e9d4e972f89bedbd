// SPDX-License-Identifier: Apache-2.0
// A counter-based generator: the n-th number of a seed is a function of both, so that a sequence that was preempted or
// rolled back draws the same numbers again, on every platform.
#pragma once

#include <cstdint>

namespace qwin {

// The output function of SplitMix64 (Steele, Lea, Flood 2014): a bijection that passes BigCrush on a counter.
inline uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Uniform in [0, 1), a multiple of 2^-53. The seed is mixed first: nearby seeds must not give shifted streams.
inline double uniform_at(uint64_t seed, uint64_t counter) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;
  const uint64_t bits = mix_bits(mix_bits(seed + kGolden) + (counter + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace qwin
