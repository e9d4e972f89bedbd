// SPDX-License-Identifier: Apache-2.0
#include "model/row_residual.h"

#include <gmock/gmock.h>

#include "io/io_test_support.h"

namespace qwin {
namespace {

using testing::error_of;

class RowResidualTest : public ::testing::Test {
 protected:
  RowResidualTest() {
    files_.tensors.add({.name = "token_embd.weight", .dtype = DType::f32, .shape = {6, 4}, .data = {}});
  }

  void add_residual(uint64_t rows, uint64_t columns) {
    files_.tensors.add(
        {.name = "token_embd.residual.weight", .dtype = DType::f32, .shape = {rows, columns}, .data = {}});
  }
  void add_rows(GgufType element_type = GgufType::u32) {
    GgufValue value;
    value.type = GgufType::array;
    value.element_type = element_type;
    value.count = rows_.size();
    value.elements = FileSpan::of_memory(rows_.data(), rows_.size() * sizeof(uint32_t));
    files_.gguf.add("qwin.residual_rows.token_embd.weight", value);
  }
  std::optional<RowResidual> find() const {
    return find_row_residual(files_, *files_.tensors.find("token_embd.weight"));
  }
  std::string fault(std::string* detail = nullptr) const {
    return error_of([&] { find(); }, detail);
  }

  ModelFiles files_;
  std::vector<uint32_t> rows_{1, 4, 5};
};

TEST_F(RowResidualTest, MostMatricesHaveNone) { EXPECT_FALSE(find()); }

TEST_F(RowResidualTest, IsATensorAndTheRowsItBelongsTo) {
  add_residual(3, 4);
  add_rows();
  const auto residual = find();
  ASSERT_TRUE(residual);
  EXPECT_EQ(residual->tensor, files_.tensors.find("token_embd.residual.weight"));
  EXPECT_THAT(*residual->rows, ::testing::ElementsAre(1, 4, 5));
}

TEST_F(RowResidualTest, IsNoParameterOfItsOwn) {
  add_residual(3, 4);
  EXPECT_EQ(num_parameters(files_.tensors), 24u);
}

TEST_F(RowResidualTest, NeitherIsThereAlone) {
  RowResidualTest::add_rows();
  EXPECT_EQ(fault(), "missing_tensor");
  files_.gguf = {};
  add_residual(3, 4);
  std::string detail;
  EXPECT_EQ(fault(&detail), "missing_tensor");
  EXPECT_THAT(detail, ::testing::HasSubstr("qwin.residual_rows.token_embd.weight"));
}

TEST_F(RowResidualTest, RefusesRowsThatDoNotFit) {
  add_residual(3, 4);
  for (const std::vector<uint32_t>& bad :
       {std::vector<uint32_t>{1, 4}, {1, 4, 6}, {1, 4, 0xFFFFFFFF}, {4, 1, 5}, {1, 1, 5}, {}}) {
    rows_ = bad;
    files_.gguf = {};
    add_rows();
    EXPECT_THAT(fault(), bad.size() == 3 ? "bad_config" : "bad_shape");
  }
  rows_ = {1, 4, 5};
  files_.gguf = {};
  add_rows(GgufType::f32);
  EXPECT_EQ(fault(), "bad_config");
}

TEST_F(RowResidualTest, RefusesOtherColumns) {
  add_residual(3, 8);
  add_rows();
  EXPECT_EQ(fault(), "bad_shape");
}

}  // namespace
}  // namespace qwin
