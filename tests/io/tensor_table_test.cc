// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_table.h"

#include <gtest/gtest.h>

#include "io/io_test_support.h"

namespace qwin {
namespace {

using testing::error_of;

TensorInfo named(const std::string& name) {
  TensorInfo tensor;
  tensor.name = name;
  return tensor;
}

TEST(TensorTableTest, FindsByNameAndKeepsTheOrder) {
  TensorTable table;
  table.add(named("b"));
  table.add(named("a"));
  EXPECT_EQ(table.find("a"), &table.tensors()[1]);
  EXPECT_EQ(table.find("c"), nullptr);
  EXPECT_EQ(error_of([&] { table.add(named("b")); }), "bad_shape");
}

TEST(TensorTableTest, BoundsTheNumberOfTensors) {
  TensorTable table;
  for (uint64_t i = 0; i < kMaxTensors; ++i) table.add(named(std::to_string(i)));
  EXPECT_EQ(error_of([&] { table.add(named("one more")); }), "too_large");
}

TEST(TensorBytesTest, CountsBlocks) {
  EXPECT_EQ(tensor_bytes("t", DType::f32, {3, 5}), 60u);
  EXPECT_EQ(tensor_bytes("t", DType::bf16, {7}), 14u);
  EXPECT_EQ(tensor_bytes("t", DType::q4_0, {3, 64}), 3u * 2 * 18);
  EXPECT_EQ(tensor_bytes("t", DType::q6_k, {2, 256}), 420u);
  EXPECT_EQ(tensor_bytes("t", DType::f32, {}), 4u);
}

TEST(TensorBytesTest, RefusesEmptyPartialAndWrapping) {
  EXPECT_EQ(error_of([] { tensor_bytes("t", DType::f32, {4, 0}); }), "bad_shape");
  EXPECT_EQ(error_of([] { tensor_bytes("t", DType::q8_0, {32, 31}); }), "bad_shape");
  EXPECT_EQ(error_of([] { tensor_bytes("t", DType::f32, {uint64_t{1} << 62}); }), "overflow");
  EXPECT_EQ(error_of([] { tensor_bytes("t", DType::f16, {uint64_t{1} << 40, uint64_t{1} << 24}); }), "overflow");
}

}  // namespace
}  // namespace qwin
