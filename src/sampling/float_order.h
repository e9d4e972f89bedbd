// SPDX-License-Identifier: Apache-2.0
// The highest float by integer comparisons, which compilers vectorize: with NaN and -0 in mind they may not for floats.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>

namespace qwin {

// Requires: no NaN, not empty.
inline float highest_of(std::span<const float> x) {
  // Floats order as signed integers once the magnitude bits of the negative ones are flipped; the map is its own
  // inverse.
  const auto flip = [](int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); };
  int32_t highest = std::numeric_limits<int32_t>::min();
  for (float v : x) highest = std::max(highest, flip(std::bit_cast<int32_t>(v)));
  return std::bit_cast<float>(flip(highest));
}

}  // namespace qwin
