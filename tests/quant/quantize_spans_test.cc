// SPDX-License-Identifier: Apache-2.0
#include "quant/quantize_spans.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "quant/dequantize.h"
#include "quant/quantize.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr DType kSpanTypes[] = {DType::q3, DType::q4, DType::q5, DType::q6, DType::q8};

std::vector<float> normal_weights(size_t n, float deviation = 0.02f) {
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> w(n);
  for (float& value : w) value = normal(random);
  return w;
}

std::vector<float> there_and_back(DType type, const std::vector<float>& w, size_t group_size = 32) {
  const DTypeInfo& info = dtype_info(type);
  std::vector<std::byte> blocks(w.size() / info.block_elements * info.block_bytes);
  quantize_spans(type, w.data(), w.size(), group_size, blocks.data());
  std::vector<float> out(w.size());
  dequantize(type, blocks.data(), out.size(), out.data());
  return out;
}

// sum of (a - b)^2 / sum of a^2
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, power = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += static_cast<double>(a[i] - b[i]) * (a[i] - b[i]);
    power += static_cast<double>(a[i]) * a[i];
  }
  return error / power;
}

TEST(QuantizeSpansTest, GaussianWeightsLoseWhatTheBitsAllow) {
  const std::vector<float> w = normal_weights(128 * 200);
  EXPECT_LT(relative_error(w, there_and_back(DType::q3, w)), 0.027);
  EXPECT_LT(relative_error(w, there_and_back(DType::q4, w)), 0.0062);
  EXPECT_LT(relative_error(w, there_and_back(DType::q5, w)), 0.002);
  EXPECT_LT(relative_error(w, there_and_back(DType::q6, w)), 0.0005);
  EXPECT_LT(relative_error(w, there_and_back(DType::q8, w)), 0.00005);
}

TEST(QuantizeSpansTest, AnySizeOfWeightsFitsTheScales) {
  for (const float deviation : {1e-5f, 1e-3f, 1.0f, 1000.0f}) {
    const std::vector<float> w = normal_weights(128 * 20, deviation);
    EXPECT_LT(relative_error(w, there_and_back(DType::q4, w)), 0.008) << deviation;
  }
}

TEST(QuantizeSpansTest, ColumnsThatMatterMoreLoseLess) {
  std::vector<float> importance(128, 1.0f), lost(128);
  const std::vector<float> weights = normal_weights(128 * 100), no_feedback(128 * 128);
  for (size_t i = 0; i < importance.size(); i += 7) importance[i] = 50.0f;
  for (const DType type : {DType::q3, DType::q4, DType::q5, DType::q6}) {
    double blind = 0, seeing = 0;
    for (size_t at = 0; at < weights.size(); at += 128) {
      const std::vector<float> w(weights.begin() + static_cast<ptrdiff_t>(at),
                                 weights.begin() + static_cast<ptrdiff_t>(at) + 128);
      std::vector<float> target = w;
      std::vector<std::byte> block(dtype_info(type).block_bytes);
      seeing += quantize_span_in_order(type,
                                       {.w = w.data(),
                                        .target = target.data(),
                                        .importance = importance.data(),
                                        .feedback = no_feedback.data(),
                                        .lost = lost.data()},
                                       32, block.data());
      const std::vector<float> out = there_and_back(type, w);
      for (size_t i = 0; i < 128; ++i) blind += importance[i] * (w[i] - out[i]) * (w[i] - out[i]);
    }
    EXPECT_LT(seeing, 0.9 * blind) << dtype_info(type).name;
  }
}

TEST(QuantizeSpansTest, SmallerGroupsLoseLess) {
  const std::vector<float> w = normal_weights(128 * 100);
  const double of_32 = relative_error(w, there_and_back(DType::q4, w, 32));
  const double of_64 = relative_error(w, there_and_back(DType::q4, w, 64));
  const double of_128 = relative_error(w, there_and_back(DType::q4, w, 128));
  EXPECT_LT(of_32, of_64);
  EXPECT_LT(of_64, of_128);
}

// What a loss costs once later columns have made good what they can: the sum over columns j of
// importance_j * (lost_j + sum k < j of lost_k * feedback_kj)^2.
double cost_of(const std::vector<float>& lost, const std::vector<float>& importance,
               const std::vector<float>& feedback) {
  double cost = 0;
  for (size_t j = 0; j < 128; ++j) {
    double term = lost[j];
    for (size_t k = 0; k < j; ++k) term += static_cast<double>(lost[k]) * feedback[k * 128 + j];
    cost += importance[j] * term * term;
  }
  return cost;
}

TEST(QuantizeSpansTest, ColumnsInOrderMakeGoodWhatEarlierOnesLose) {
  const std::vector<float> w = normal_weights(128);
  std::vector<float> feedback = normal_weights(128 * 128, 0.2f), importance(128);
  for (size_t i = 0; i < 128; ++i) importance[i] = 1.0f + static_cast<float>(i % 5);
  for (const DType type : kSpanTypes) {
    std::vector<float> target = w, lost(128), plain(128), result(128);
    std::vector<std::byte> block(dtype_info(type).block_bytes);
    const OrderedSpan span{.w = w.data(),
                           .target = target.data(),
                           .importance = importance.data(),
                           .feedback = feedback.data(),
                           .lost = lost.data()};
    const double cost = quantize_span_in_order(type, span, 32, block.data());
    dequantize(type, block.data(), 128, result.data());
    const std::vector<float> out = there_and_back(type, w);
    for (size_t i = 0; i < 128; ++i) {
      ASSERT_EQ(lost[i], w[i] - result[i]) << dtype_info(type).name << " " << i;
      plain[i] = w[i] - out[i];
    }
    EXPECT_NEAR(cost, cost_of(lost, importance, feedback), 1e-3 * cost) << dtype_info(type).name;
    EXPECT_LT(cost, 0.6 * cost_of(plain, importance, feedback)) << dtype_info(type).name;
  }
}

TEST(QuantizeSpansTest, ZerosStayZero) {
  std::vector<float> w(256, 0.0f);
  w[200] = 0.5f;
  for (const DType type : kSpanTypes) {
    const std::vector<float> out = there_and_back(type, w);
    for (size_t i = 0; i < 128; ++i) ASSERT_EQ(out[i], 0.0f) << dtype_info(type).name << " " << i;
    EXPECT_NEAR(out[200], 0.5f, 0.01f) << dtype_info(type).name;
  }
}

TEST(QuantizeSpansTest, RefusesWhatItCannotHold) {
  const auto code_of = [](DType type, const std::vector<float>& w, size_t group_size) {
    try {
      std::vector<std::byte> out(1024);
      quantize_spans(type, w.data(), w.size(), group_size, out.data());
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::io;
  };
  std::vector<float> w(128, 1.0f);
  EXPECT_EQ(code_of(DType::q4, std::vector<float>(96), 32), ErrorCode::bad_shape);
  EXPECT_EQ(code_of(DType::q4_0, w, 32), ErrorCode::bad_type);
  EXPECT_EQ(code_of(DType::q4, w, 16), ErrorCode::invalid_argument);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e6f}) {
    w[77] = bad;
    for (const DType type : kSpanTypes) EXPECT_EQ(code_of(type, w, 32), ErrorCode::non_finite) << bad;
  }
}

}  // namespace
}  // namespace qwin
