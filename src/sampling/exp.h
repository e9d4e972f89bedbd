// SPDX-License-Identifier: Apache-2.0
// e^x in float64 by additions and multiplications alone: the C library's differs from platform to platform in the last
// bit and with it a sampled token could; this one also vectorizes.
#pragma once

#include <bit>
#include <cstdint>

namespace qwin {

// Requires: x <= 0. Relative error below 4e-16 down to -700; below that e^-700 = 1e-304, which no sum notices.
inline double exp_nonpositive(double x) {
  const double clamped = x > -700.0 ? x : -700.0;
  // x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
  constexpr double kRound = 0x1.8p52;
  const double shifted = clamped * 0x1.71547652b82fep0 + kRound;
  const double n = shifted - kRound;
  const double r = (clamped - n * 0x1.62e42fefa0000p-1) - n * 0x1.cf79abc9e3b3ap-40;
  // Taylor to r^12: the first term left out is below 2e-16 of the sum.
  double p = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const uint64_t scale = (std::bit_cast<uint64_t>(shifted) + 1023) << 52;
  return p * std::bit_cast<double>(scale);
}

}  // namespace qwin
