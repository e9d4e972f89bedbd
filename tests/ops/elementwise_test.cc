// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "core/cpu_info.h"
#include "ops/stored_blocks.h"

namespace qwin {

namespace {

class ElementwiseOpTest : public testing::Test {
 protected:
  ElementwiseOpTest() : context_(detect_cpu_isa(), 3, {}) {}
  std::mt19937_64 random_{4};
  OpsContext context_;
};

TEST_F(ElementwiseOpTest, ManyRowsGiveTheBitsOfOneRowAtATime) {
  const size_t tokens = 200, heads = 4, head_dim = 48, columns = heads * head_dim;
  std::vector<float> x = random_values(random_, tokens * columns), weight = random_values(random_, columns);
  std::vector<float> cos = random_values(random_, tokens * head_dim / 2),
                     sin = random_values(random_, tokens * head_dim / 2);
  const auto run = [&](std::vector<float>& rows, size_t first, size_t count) {
    const Matrix m{rows.data() + first * columns, count, columns, columns};
    const Matrix c{cos.data() + first * head_dim / 2, count, head_dim / 2, head_dim / 2};
    const Matrix s{sin.data() + first * head_dim / 2, count, head_dim / 2, head_dim / 2};
    rms_norm(context_, m, weight.data(), 1e-6f, m);
    rms_norm_heads(context_, m, weight.data(), 1e-6f, head_dim);
    rope(context_, m, c, s, head_dim);
  };
  std::vector<float> together = x, alone = x;
  run(together, 0, tokens);
  for (size_t t = 0; t < tokens; ++t) run(alone, t, 1);
  EXPECT_EQ(together, alone);
  EXPECT_NE(together, x);
}

TEST_F(ElementwiseOpTest, RowsApartFromEachOtherLeaveTheGapsAlone) {
  std::vector<float> x(10 * 80, 3.0f), weight(64, 1.0f);
  const Matrix m{x.data(), 10, 64, 80};
  rms_norm(context_, m, weight.data(), 0, m);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], i % 80 < 64 ? 1.0f : 3.0f) << i;
}

TEST_F(ElementwiseOpTest, GatherTakesRowsInTheAskedOrder) {
  std::vector<float> from(30), to(12);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
  const int32_t rows[] = {9, 0, 9, 4};
  gather_rows({from.data(), 10, 3, 3}, rows, {to.data(), 4, 3, 3});
  EXPECT_EQ(to, (std::vector<float>{27, 28, 29, 0, 1, 2, 27, 28, 29, 12, 13, 14}));
}

}  // namespace

}  // namespace qwin
