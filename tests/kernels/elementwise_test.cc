// SPDX-License-Identifier: Apache-2.0
// RMSNorm, rotary embedding, SwiGLU and the float32 GEMM of every rung, the reference among them, against double
// arithmetic. Tolerances are those beside each typedef in kernels/cpu_kernels.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/cpu_info.h"
#include "kernels/kernel_cases.h"

namespace qwin {

namespace {

constexpr size_t kLengths[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 100, 128, 129, 896, 1537};

// Below e^-87 the exponential leaves float's range: a rung may keep that much of the gate, or nothing.
constexpr double kSiluFloor = 2e-38;

class ElementwiseTest : public testing::TestWithParam<CpuIsa> {
 protected:
  const CpuKernels kernels_ = make_cpu_kernels(GetParam());
  Random random_{11};
};

TEST_P(ElementwiseTest, RmsNormIsWithinOneMillionth) {
  for (const size_t n : kLengths) {
    for (const float scale : {1.0f, 1e-12f, 1e15f}) {
      const GuardedArray<float> x = random_floats(random_, n, scale), weight = random_floats(random_, n);
      const float eps = 1e-6f;
      double sum = 0;
      for (const float v : x) sum += static_cast<double>(v) * v;
      const double inverse = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
      GuardedArray<float> out(n);
      kernels_.rms_norm(x.data(), weight.data(), n, eps, out.data());
      for (size_t i = 0; i < n; ++i) {
        const double exact = x[i] * inverse * weight[i];
        ASSERT_NEAR(out[i], exact, 1e-6 * std::fabs(exact)) << n << " floats of scale " << scale << ", at " << i;
      }
    }
  }
}

TEST_P(ElementwiseTest, RmsNormMayWriteOverItsInput) {
  for (const size_t n : kLengths) {
    const GuardedArray<float> x = random_floats(random_, n), weight = random_floats(random_, n);
    GuardedArray<float> out(n), in_place = x.clone();
    kernels_.rms_norm(x.data(), weight.data(), n, 1e-6f, out.data());
    kernels_.rms_norm(in_place.data(), weight.data(), n, 1e-6f, in_place.data());
    ASSERT_EQ(std::memcmp(out.data(), in_place.data(), n * sizeof(float)), 0) << n;
  }
}

TEST_P(ElementwiseTest, RmsNormOfZerosIsZeroAndOfNaNIsNaN) {
  const GuardedArray<float> weight = random_floats(random_, 96);
  GuardedArray<float> x(96), out(96);
  kernels_.rms_norm(x.data(), weight.data(), 96, 1e-6f, out.data());
  for (const float v : out) EXPECT_EQ(v, 0.0f);
  x[40] = std::nanf("");
  kernels_.rms_norm(x.data(), weight.data(), 96, 1e-6f, out.data());
  for (const float v : out) EXPECT_TRUE(std::isnan(v));
}

TEST_P(ElementwiseTest, RopeIsWithinOneMillionthOfThePairsLength) {
  for (const size_t half : kLengths) {
    const GuardedArray<float> head = random_floats(random_, 2 * half, 100.0f);
    GuardedArray<float> cos(half), sin(half);
    for (size_t i = 0; i < half; ++i) cos[i] = std::cos(float(i) * 0.7f), sin[i] = std::sin(float(i) * 0.7f);
    const GuardedArray<float> rotated = head.clone();
    kernels_.rope(rotated.data(), cos.data(), sin.data(), half);
    for (size_t i = 0; i < half; ++i) {
      const double a = head[i], b = head[half + i], tolerance = 1e-6 * std::hypot(a, b);
      ASSERT_NEAR(rotated[i], a * cos[i] - b * sin[i], tolerance) << "half " << half << " at " << i;
      ASSERT_NEAR(rotated[half + i], b * cos[i] + a * sin[i], tolerance) << "half " << half << " at " << i;
    }
  }
}

TEST_P(ElementwiseTest, SiluMulIsWithinTwoMillionths) {
  for (const size_t n : kLengths) {
    for (const float scale : {1.0f, 30.0f, 1e-20f}) {
      const GuardedArray<float> gate = random_floats(random_, n, scale), up = random_floats(random_, n);
      const GuardedArray<float> in_place = gate.clone();
      GuardedArray<float> out(n);
      kernels_.silu_mul(gate.data(), up.data(), n, out.data());
      kernels_.silu_mul(in_place.data(), up.data(), n, in_place.data());
      ASSERT_EQ(std::memcmp(out.data(), in_place.data(), n * sizeof(float)), 0) << "in place, " << n;
      for (size_t i = 0; i < n; ++i) {
        const double g = gate[i], exact = g / (1 + std::exp(-g)) * up[i];
        ASSERT_NEAR(out[i], exact, 2e-6 * std::fabs(exact) + kSiluFloor * std::fabs(g * up[i]))
            << n << " floats, gate " << gate[i];
      }
    }
  }
}

TEST_P(ElementwiseTest, SiluMulOfExtremesIsFinite) {
  GuardedArray<float> gate(20), up(20), out(20);
  static constexpr float kGates[] = {-3e38f, -1e10f, -1000, -104, -89, -88, -87.5f, -87, -86,   -0.0f,
                                     0,      1e-40f, 86,    87,   88,  89,  104,    1e3, 1e10f, 3e38f};
  std::ranges::copy(kGates, gate.begin());
  std::ranges::fill(up, 1.0f);
  kernels_.silu_mul(gate.data(), up.data(), 20, out.data());
  for (size_t i = 0; i < 20; ++i) {
    const double g = gate[i], exact = g / (1 + std::exp(-g));
    EXPECT_NEAR(out[i], exact, 2e-6 * std::fabs(exact) + kSiluFloor * std::fabs(g) + 1e-45) << g;
  }
}

TEST_P(ElementwiseTest, SiluMulPassesNaNOn) {
  GuardedArray<float> gate = random_floats(random_, 37), up = random_floats(random_, 37), out(37);
  gate[3] = gate[36] = up[20] = std::nanf("");
  kernels_.silu_mul(gate.data(), up.data(), 37, out.data());
  for (size_t i = 0; i < 37; ++i) EXPECT_EQ(std::isnan(out[i]), i == 3 || i == 20 || i == 36) << i;
}

struct GemmF32Case {
  size_t k;
  int num_rows, num_tokens;
};

// Exact dot products and the sums of the products' magnitudes, to which the tolerance is relative.
void check_gemm_f32(const CpuKernels& kernels, Random& random, const GemmF32Case& c, bool same_sign) {
  const size_t x_stride = c.k + 5, out_stride = static_cast<size_t>(c.num_rows) + 2;
  GuardedArray<float> w = random_floats(random, c.num_rows * c.k),
                      x = random_floats(random, (c.num_tokens - 1) * x_stride + c.k);
  if (same_sign) {
    for (float& v : w) v = std::fabs(v);
    for (float& v : x) v = std::fabs(v);
  }
  const GuardedArray<float> bias = random_floats(random, static_cast<size_t>(c.num_rows));
  GuardedArray<float> out = random_floats(random, (c.num_tokens - 1) * out_stride + c.num_rows);
  const GuardedArray<float> residual = out.clone();
  kernels.gemm_f32({.w = w.data(),
                    .x = x.data(),
                    .x_stride = x_stride,
                    .k = c.k,
                    .num_rows = c.num_rows,
                    .num_tokens = c.num_tokens,
                    .bias = bias.data(),
                    .residual = out.data(),
                    .out = out.data(),
                    .out_stride = out_stride});
  for (int t = 0; t < c.num_tokens; ++t) {
    for (int r = 0; r < c.num_rows; ++r) {
      const size_t at = t * out_stride + static_cast<size_t>(r);
      double exact = static_cast<double>(bias[r]) + residual[at],
             magnitude = std::fabs(bias[r]) + std::fabs(residual[at]);
      for (size_t k = 0; k < c.k; ++k) {
        const double product = static_cast<double>(w[r * c.k + k]) * x[t * x_stride + k];
        exact += product;
        magnitude += std::fabs(product);
      }
      ASSERT_NEAR(out[at], exact, 1e-6 * magnitude) << "k " << c.k << ", token " << t << ", row " << r;
    }
  }
}

TEST_P(ElementwiseTest, GemmF32IsWithinOneMillionthOfTheProducts) {
  int step = 0;
  for (const size_t k : kLengths) {
    for (const int tokens : {1, 3, 4, 5, 9}) {
      check_gemm_f32(kernels_, random_, {k, 1 + step % 7, tokens}, step % 2 == 0);
      ++step;
    }
  }
  check_gemm_f32(kernels_, random_, {8960, 5, 2}, true);
}

// The result of a row does not depend on which tokens and rows share the call.
TEST_P(ElementwiseTest, GemmF32TreatsEachTokenAndRowAlone) {
  const size_t k = 77;
  const GuardedArray<float> w = random_floats(random_, 9 * k), x = random_floats(random_, 7 * k);
  GuardedArray<float> together(7 * 9), alone(1);
  GemmF32Args args{.w = w.data(),
                   .x = x.data(),
                   .x_stride = k,
                   .k = k,
                   .num_rows = 9,
                   .num_tokens = 7,
                   .bias = nullptr,
                   .residual = nullptr,
                   .out = together.data(),
                   .out_stride = 9};
  kernels_.gemm_f32(args);
  for (int t = 0; t < 7; ++t) {
    for (int r = 0; r < 9; ++r) {
      args.w = w.data() + r * k, args.x = x.data() + t * k, args.num_rows = args.num_tokens = 1,
      args.out = alone.data();
      kernels_.gemm_f32(args);
      ASSERT_EQ(std::memcmp(alone.data(), &together[t * 9 + r], sizeof(float)), 0) << "token " << t << ", row " << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rungs, ElementwiseTest, testing::ValuesIn(runnable_rungs()),
                         [](const auto& info) { return std::string(cpu_isa_name(info.param)); });

}  // namespace

}  // namespace qwin
