// SPDX-License-Identifier: Apache-2.0
// Quantization of activations: every rung gives the reference's bits, and the reference keeps each value within half a
// step.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/cpu_info.h"
#include "kernels/kernel_cases.h"

namespace qwin {

namespace {

constexpr size_t kLengths[] = {1,   2,   3,   7,   15,  16,  17,  31,  33,  63,  64,  65,  96,
                               127, 128, 129, 160, 200, 255, 256, 257, 384, 500, 896, 1000};

enum class Pattern {
  normal,
  one_outlier,
  two_equal,
  heavy_tail,
  steps,  // every value 2.6 times the next: the longest run of outliers there can be
  all_equal,
  zero,
  denormal,
  tiny,
  huge,
  half_steps,
  num_patterns
};

GuardedArray<float> make_row(Random& random, size_t n, Pattern pattern) {
  GuardedArray<float> x = random_floats(random, n);
  const size_t a = random() % n, b = random() % n;
  for (size_t i = 0; i < n; ++i) {
    if (pattern == Pattern::heavy_tail) x[i] = x[i] * x[i] * x[i];
    if (pattern == Pattern::steps) x[i] = std::copysign(std::pow(2.6f, static_cast<float>(i % 30)), x[i]);
    if (pattern == Pattern::all_equal) x[i] = i % 3 == 0 ? -2.5f : 2.5f;
    if (pattern == Pattern::zero) x[i] = i % 2 == 0 ? 0.0f : -0.0f;
    if (pattern == Pattern::denormal) x[i] *= 1e-41f;
    if (pattern == Pattern::tiny) x[i] *= 1e-28f;
    if (pattern == Pattern::huge) x[i] *= 1e37f;
    if (pattern == Pattern::half_steps) x[i] = static_cast<float>(static_cast<int>(random() % 253) - 126) + 0.5f;
  }
  if (pattern == Pattern::half_steps && n > 2) x[0] = -127.0f, x[1] = 127.0f, x[2] = 126.5f;
  if (pattern == Pattern::one_outlier) x[a] = random() % 2 == 0 ? 20000.0f : -20000.0f;
  if (pattern == Pattern::two_equal) x[a] = 300.0f, x[b] = -300.0f;
  return x;
}

// A token's row, filled with a pattern first so that what a kernel leaves alone is seen.
QuantizedInput quantize(const CpuKernels& kernels, const GuardedArray<float>& x) {
  QuantizedInput q(1, static_cast<int>((x.size() + kSpan - 1) / kSpan));
  std::ranges::fill(q.codes, int8_t{99});
  std::ranges::fill(q.sums, int16_t{9999});
  std::ranges::fill(q.scales, 9999.0f);
  std::ranges::fill(q.outliers, Outlier{9999, 9999});
  std::ranges::fill(q.extra_counts, uint8_t{99});
  std::ranges::fill(q.extras, Outlier{9999, 9999});
  kernels.quantize_row(x.data(), x.size(), q.rows());
  return q;
}

template <typename T>
bool same_bytes(const GuardedArray<T>& a, const GuardedArray<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

class QuantizeRowTest : public testing::TestWithParam<CpuIsa> {
 protected:
  const CpuKernels reference_ = make_cpu_kernels(CpuIsa::reference);
  const CpuKernels kernels_ = make_cpu_kernels(GetParam());
  Random random_{7};
};

TEST_P(QuantizeRowTest, EqualsReferenceBitForBit) {
  for (const size_t n : kLengths) {
    for (int pattern = 0; pattern < static_cast<int>(Pattern::num_patterns); ++pattern) {
      SCOPED_TRACE(testing::Message() << n << " floats, pattern " << pattern);
      const GuardedArray<float> x = make_row(random_, n, static_cast<Pattern>(pattern));
      const QuantizedInput expected = quantize(reference_, x), actual = quantize(kernels_, x);
      ASSERT_TRUE(same_bytes(expected.scales, actual.scales));
      ASSERT_TRUE(same_bytes(expected.codes, actual.codes));
      ASSERT_TRUE(same_bytes(expected.outliers, actual.outliers));
      ASSERT_TRUE(same_bytes(expected.extra_counts, actual.extra_counts));
      ASSERT_TRUE(same_bytes(expected.extras, actual.extras));
      ASSERT_TRUE(same_bytes(expected.sums, actual.sums));
    }
  }
}

TEST_P(QuantizeRowTest, KeepsEveryValueWithinHalfAStep) {
  for (const Pattern pattern : {Pattern::normal, Pattern::one_outlier, Pattern::two_equal, Pattern::heavy_tail,
                                Pattern::steps, Pattern::all_equal, Pattern::huge, Pattern::half_steps}) {
    const GuardedArray<float> x = make_row(random_, 640, pattern);
    const QuantizedInput q = quantize(kernels_, x);
    for (int k = 0; k < 640; ++k) {
      const double step = q.scale(0, k / kSpan);
      // Half a step, and what two float roundings of a value of that size can add.
      ASSERT_LE(std::fabs(x[k] - q.value(0, k)), step / 2 + 2e-7 * std::fabs(x[k])) << "at " << k;
    }
  }
}

TEST_P(QuantizeRowTest, SumsAreThoseOfTheWholeCodes) {
  const GuardedArray<float> x = make_row(random_, 384, Pattern::one_outlier);
  const QuantizedInput q = quantize(kernels_, x);
  for (int group = 0; group < 384 / 16; ++group) {
    int sum = 0;
    for (int k = 0; k < 16; ++k) sum += q.code(0, group * 16 + k);
    EXPECT_EQ(q.sums[group], sum) << "group " << group;
  }
}

TEST_P(QuantizeRowTest, OutliersDoNotCoarsenTheirSpan) {
  for (int count = 1; count <= 1 + kMaxExtras; ++count) {
    GuardedArray<float> x = random_floats(random_, kSpan);
    for (int i = 0; i < count; ++i) x[static_cast<size_t>(30 * i + 7)] = i % 2 == 0 ? 100.0f : -20.0f;
    const QuantizedInput q = quantize(kernels_, x);
    EXPECT_LT(q.scales[0], 5.0f / 127) << count << " outliers";
    EXPECT_EQ(q.outliers[0].column, 7u);
    EXPECT_EQ(q.extra_count(0, 0), count - 1);
    for (int i = 0; i < count; ++i) EXPECT_EQ(q.value(0, 30 * i + 7), x[static_cast<size_t>(30 * i + 7)]);
  }
}

TEST_P(QuantizeRowTest, MoreThanFourLargeValuesStayInTheCodes) {
  GuardedArray<float> x = random_floats(random_, kSpan);
  for (size_t i = 0; i < 5; ++i) x[20 * i] = 100.0f;
  const QuantizedInput q = quantize(kernels_, x);
  EXPECT_EQ(q.outliers[0].column, 0u);
  EXPECT_EQ(q.extra_count(0, 0), 0);
  EXPECT_EQ(q.code(0, 20), 127);
}

// What the kernels' 16-bit group sums rely on.
TEST_P(QuantizeRowTest, MagnitudesOfSixteenCodesAreBounded) {
  for (int pattern = 0; pattern < static_cast<int>(Pattern::num_patterns); ++pattern) {
    const GuardedArray<float> x = make_row(random_, 640, static_cast<Pattern>(pattern));
    const QuantizedInput q = quantize(kernels_, x);
    for (int k = 0; k < 640; k += 16) {
      int sum = 0;
      for (int i = 0; i < 16; ++i) sum += std::abs(q.code(0, k + i));
      ASSERT_LE(sum, kMaxCodeSum) << "pattern " << pattern << " at " << k;
    }
  }
}

TEST_P(QuantizeRowTest, ARowAmongOthersTouchesNoOther) {
  constexpr int kSpans = 6;
  const GuardedArray<float> x = make_row(random_, kSpans * kSpan - 9, Pattern::heavy_tail);
  QuantizedInput q(3, kSpans);
  std::ranges::fill(q.codes, int8_t{99});
  std::ranges::fill(q.extra_counts, uint8_t{99});
  kernels_.quantize_row(x.data(), x.size(), q.rows(1));
  const QuantizedInput alone = quantize(kernels_, x);
  for (int k = 0; k < kSpans * kSpan; ++k) {
    ASSERT_EQ(q.code(0, k), 99);
    ASSERT_EQ(q.code(2, k), 99);
    ASSERT_EQ(q.value(1, k), alone.value(0, k)) << "at " << k;
  }
}

// A fault in the arithmetic must reach the logits, where it is reported, and not end as a plausible number.
TEST_P(QuantizeRowTest, NonFiniteValuesMakeTheirSpanNonFinite) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    for (const int place : {0, 5, 63, 127, 128, 200, 255}) {
      GuardedArray<float> x = random_floats(random_, 300);
      x[place] = value;
      const QuantizedInput q = quantize(kernels_, x);
      EXPECT_FALSE(std::isfinite(q.scales[place / kSpan])) << value << " at " << place;
      EXPECT_TRUE(std::isfinite(q.scales[2]));
      const QuantizedInput expected = quantize(reference_, x);
      EXPECT_TRUE(same_bytes(expected.codes, q.codes) && same_bytes(expected.sums, q.sums));
      EXPECT_TRUE(same_bytes(expected.outliers, q.outliers) && same_bytes(expected.extra_counts, q.extra_counts));
    }
    GuardedArray<float> all(kSpan);
    std::ranges::fill(all, value);
    EXPECT_FALSE(std::isfinite(quantize(kernels_, all).scales[0])) << "all " << value;
  }
}

INSTANTIATE_TEST_SUITE_P(Rungs, QuantizeRowTest, testing::ValuesIn(runnable_rungs()),
                         [](const auto& info) { return std::string(cpu_isa_name(info.param)); });

}  // namespace

}  // namespace qwin
