// SPDX-License-Identifier: Apache-2.0
// The exponential function and the order of sums that every rung shares, so that floats are the same bits on all of
// them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace qwin {

// exp(x) for x <= 88: range reduction by ln 2 in two parts, then the degree-6 polynomial of Cephes' expf; error below 2
// ulp. 0 below -87 and for NaN.
inline float exp_reference(float x) {
  if (!(x >= -87.0f)) return 0;
  const float n = std::nearbyint(x * 1.44269504088896341f);
  float r = std::fma(-n, 0.693359375f, x);
  r = std::fma(-n, -2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = std::fma(p, r, 1.3981999507e-3f);
  p = std::fma(p, r, 8.3334519073e-3f);
  p = std::fma(p, r, 4.1665795894e-2f);
  p = std::fma(p, r, 1.6666665459e-1f);
  p = std::fma(p, r, 5.0000001201e-1f);
  p = std::fma(p, r * r, r) + 1.0f;
  return p * std::bit_cast<float>((static_cast<uint32_t>(static_cast<int>(n) + 127)) << 23);
}

// Long sums run in 16 lanes, which are then added in halves: i + (i + 8), i + (i + 4), i + (i + 2), i + (i + 1).
inline float reduce_lanes(float (&lanes)[16]) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace qwin
