// SPDX-License-Identifier: Apache-2.0
// IEEE half and bfloat16 to float and back, bit exact and without special instructions.
#pragma once

#include <bit>
#include <cstdint>

namespace qwin {

// Without branches, so that a loop over halves becomes vector instructions.
inline float half_to_float(uint16_t h) {
  const uint32_t magnitude = h & 0x7fffu, sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t is_small = 0u - (magnitude < 0x400u), is_full = 0u - (magnitude > 0x7bffu);  // all bits or none
  // Infinities and NaN have the largest exponent here, too.
  const uint32_t normal = (magnitude << 13) + (112u << 23) + (is_full & 112u << 23);
  // Subnormal halves are multiples of 2^-24, the last bit of 0.5.
  const auto small = std::bit_cast<uint32_t>(std::bit_cast<float>(0x3f000000u + (magnitude & is_small)) - 0.5f);
  return std::bit_cast<float>(sign | (small & is_small) | (normal & ~is_small));
}

// Rounds to nearest even; beyond the range gives infinity, NaN stays NaN.
inline uint16_t float_to_half(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;
  if (magnitude < 0x38800000u) {  // subnormal half: let float addition round it
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000u);
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

inline float bfloat16_to_float(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

}  // namespace qwin
