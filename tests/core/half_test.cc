// SPDX-License-Identifier: Apache-2.0
// Half and bfloat16 conversions over every 16-bit pattern, against arithmetic on the definition and, where the CPU has
// it, against its own instruction.
#include "core/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qwin {

namespace {

// The value of a half by IEEE 754's definition.
double half_value(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const double sign = h & 0x8000 ? -1 : 1;
  if (exponent == 31) return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

bool is_nan(uint16_t h) { return (h & 0x7fff) > 0x7c00; }

TEST(HalfTest, EveryHalfHasItsValueAsFloat) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const float f = half_to_float(static_cast<uint16_t>(h));
    if (is_nan(static_cast<uint16_t>(h))) {
      ASSERT_TRUE(std::isnan(f)) << h;
    } else {
      ASSERT_EQ(static_cast<double>(f), half_value(static_cast<uint16_t>(h))) << h;
      ASSERT_EQ(std::signbit(f), h >= 0x8000) << h;
    }
  }
}

TEST(HalfTest, EveryHalfSurvivesTheWayThroughFloat) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint16_t back = float_to_half(half_to_float(static_cast<uint16_t>(h)));
    if (is_nan(static_cast<uint16_t>(h))) {
      ASSERT_TRUE(is_nan(back)) << h;
    } else {
      ASSERT_EQ(back, h);
    }
  }
}

// Between two neighbours lie the midpoint, which goes to the even one, and the floats beside it.
TEST(HalfTest, RoundsToNearestAndHalvesToEven) {
  for (uint16_t h = 0; h < 0x7bff; ++h) {
    const uint16_t next = static_cast<uint16_t>(h + 1), even = h % 2 == 0 ? h : next;
    const float middle = static_cast<float>((half_value(h) + half_value(next)) / 2);
    ASSERT_EQ(float_to_half(middle), even) << h;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), h) << h;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e6f)), next) << h;
    ASSERT_EQ(float_to_half(-middle), even | 0x8000) << h;
  }
}

TEST(HalfTest, BeyondTheRangeIsInfinityAndBelowItZero) {
  EXPECT_EQ(float_to_half(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(-3e38f), 0xfc00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(float_to_half(std::ldexp(1.0f, -25)), 0);  // exactly half of the smallest: to even
  EXPECT_EQ(float_to_half(std::nextafter(std::ldexp(1.0f, -25), 1.0f)), 1);
  EXPECT_EQ(float_to_half(-1e-45f), 0x8000);
  EXPECT_TRUE(is_nan(float_to_half(std::nanf(""))));
  EXPECT_TRUE(is_nan(float_to_half(std::bit_cast<float>(0x7f800001u))));
}

#if defined(__x86_64__)
__attribute__((target("f16c"))) uint16_t hardware_half(float f) {
  return static_cast<uint16_t>(_cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT));
}
__attribute__((target("f16c"))) float hardware_float(uint16_t h) { return _cvtsh_ss(h); }

TEST(HalfTest, EqualsTheInstructionOfTheCpu) {
  if (!__builtin_cpu_supports("f16c")) GTEST_SKIP() << "this CPU has no F16C";
  for (uint32_t h = 0; h < 65536; ++h) {
    if (is_nan(static_cast<uint16_t>(h))) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(half_to_float(static_cast<uint16_t>(h))),
              std::bit_cast<uint32_t>(hardware_float(static_cast<uint16_t>(h))))
        << h;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) {
    const float f = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isnan(f)) continue;
    ASSERT_EQ(float_to_half(f), hardware_half(f)) << f;
  }
}
#endif

TEST(Bfloat16Test, EveryPatternIsTheUpperHalfOfItsFloat) {
  for (uint32_t b = 0; b < 65536; ++b) {
    ASSERT_EQ(std::bit_cast<uint32_t>(bfloat16_to_float(static_cast<uint16_t>(b))), b << 16);
  }
  EXPECT_EQ(bfloat16_to_float(0x3f80), 1.0f);
  EXPECT_EQ(bfloat16_to_float(0xc040), -3.0f);
}

}  // namespace

}  // namespace qwin
