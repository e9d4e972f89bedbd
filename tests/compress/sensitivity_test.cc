// SPDX-License-Identifier: Apache-2.0
#include "compress/sensitivity.h"

#include <gtest/gtest.h>

#include "compress/quantize_tensor.h"
#include "compress/span_model.h"
#include "core/cpu_info.h"

namespace qwin {
namespace {

using testing::error_of;
using testing::SpanModel;

class SensitivityTest : public ::testing::Test {
 protected:
  double loss(Sensitivity& sensitivity, const std::string& name, DType type) {
    const TensorInfo& tensor = *files_.tensors.find(name);
    const auto [blocks, squares] = quantizer_.quantize(tensor, type, {});
    return sensitivity.loss(name, {blocks.data(), type, tensor.shape[0], tensor.shape[1]});
  }

  const SpanModel model_;
  const ModelFiles files_ = model_.open();
  ThreadTeam team_{1, {}};
  TensorQuantizer quantizer_{team_, 32};
};

TEST_F(SensitivityTest, TheModelItselfLosesNothing) {
  Sensitivity sensitivity(files_, SpanModel::text(), 1);
  for (const TensorInfo& tensor : files_.tensors.tensors()) {
    if (tensor.shape.size() != 2) continue;
    EXPECT_EQ(sensitivity.loss(tensor.name, {tensor.data.data(), tensor.dtype, tensor.shape[0], tensor.shape[1]}), 0)
        << tensor.name;
  }
}

TEST_F(SensitivityTest, CoarserTypesLoseMore) {
  Sensitivity sensitivity(files_, SpanModel::text(), 1);
  for (const char* name : {"model.embed_tokens.weight", "model.layers.0.self_attn.v_proj.weight",
                           "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.down_proj.weight"}) {
    const double q4 = loss(sensitivity, name, DType::q4), q6 = loss(sensitivity, name, DType::q6),
                 q8 = loss(sensitivity, name, DType::q8);
    EXPECT_GT(q4, 4 * q6) << name;
    EXPECT_GT(q6, 4 * q8) << name;
    EXPECT_GT(q8, 0) << name;
  }
}

TEST_F(SensitivityTest, TheOrderOfQuestionsDoesNotMatter) {
  Sensitivity once(files_, SpanModel::text(), 1), other(files_, SpanModel::text(), 1);
  const std::string first = "model.layers.0.self_attn.q_proj.weight", last = "model.layers.1.mlp.down_proj.weight",
                    head = "model.embed_tokens.weight";
  const double a = loss(once, first, DType::q4), b = loss(once, last, DType::q4), c = loss(once, head, DType::q4);
  EXPECT_EQ(loss(other, head, DType::q4), c);
  EXPECT_EQ(loss(other, last, DType::q4), b);
  EXPECT_EQ(loss(other, first, DType::q4), a);
  EXPECT_EQ(loss(other, last, DType::q4), b);
}

TEST_F(SensitivityTest, AHeadOfItsOwnIsNotTheEmbedding) {
  const SpanModel untied(false);
  const ModelFiles files = untied.open();
  Sensitivity sensitivity(files, SpanModel::text(), 1);
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    const TensorInfo& tensor = *files.tensors.find(name);
    const auto [blocks, squares] = quantizer_.quantize(tensor, DType::q4, {});
    EXPECT_GT(sensitivity.loss(name, {blocks.data(), DType::q4, tensor.shape[0], tensor.shape[1]}), 0) << name;
  }
  EXPECT_LT(sensitivity.cost("lm_head.weight"), sensitivity.cost("model.embed_tokens.weight"));
  EXPECT_LT(sensitivity.cost("model.layers.1.mlp.up_proj.weight"),
            sensitivity.cost("model.layers.0.mlp.up_proj.weight"));
}

TEST_F(SensitivityTest, AShortTextIsRefused) {
  EXPECT_EQ(error_of([&] { Sensitivity(files_, "too short", 1); }), "invalid_argument");
}

}  // namespace
}  // namespace qwin
