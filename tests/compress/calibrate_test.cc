// SPDX-License-Identifier: Apache-2.0
#include "compress/calibrate.h"

#include <gmock/gmock.h>

#include "compress/span_model.h"
#include "core/cpu_info.h"

namespace qwin {
namespace {

using testing::error_of;
using testing::SpanModel;

class CalibrateTest : public ::testing::Test {
 protected:
  const SpanModel model_;
  const ModelFiles files_ = model_.open();
  ThreadTeam team_{2, allowed_cores()};
};

TEST_F(CalibrateTest, KnowsEveryMatrixOfALayerAndTheHead) {
  int64_t read = 0, in_all = 0;
  Calibration calibration(files_, SpanModel::text(), team_, [&](int64_t done, int64_t total) {
    EXPECT_LE(done, total);
    read = done, in_all = total;
  });
  for (const TensorInfo& tensor : files_.tensors.tensors()) {
    const ErrorFeedback* feedback = calibration.of(tensor.name).feedback;
    const bool is_matrix = tensor.shape.size() == 2;  // the embedding is the head, too
    ASSERT_EQ(feedback != nullptr, is_matrix) << tensor.name;
    if (feedback == nullptr) continue;
    EXPECT_TRUE(feedback->factorized());
    EXPECT_EQ(feedback->num_spans() * kTile, tensor.shape[1]) << tensor.name;
  }
  EXPECT_EQ(read, in_all);
  EXPECT_GE(in_all, 1000);
}

TEST_F(CalibrateTest, AnEmbeddingThatIsNoHeadMultipliesNothing) {
  const SpanModel untied(false);
  const ModelFiles files = untied.open();
  Calibration calibration(files, SpanModel::text(), team_, {});
  EXPECT_EQ(calibration.of("model.embed_tokens.weight").feedback, nullptr);
  const ErrorFeedback* head = calibration.of("lm_head.weight").feedback;
  ASSERT_NE(head, nullptr);
  EXPECT_NE(calibration.of("model.layers.0.mlp.gate_proj.weight").feedback, head);
}

TEST_F(CalibrateTest, MatricesThatReadTheSameShareWhatIsKnown) {
  Calibration calibration(files_, SpanModel::text(), team_, {});
  const std::string layer = "model.layers.1.";
  const ErrorFeedback* q = calibration.of(layer + "self_attn.q_proj.weight").feedback;
  EXPECT_EQ(calibration.of(layer + "self_attn.v_proj.weight").feedback, q);
  EXPECT_NE(calibration.of(layer + "mlp.gate_proj.weight").feedback, q);
  EXPECT_EQ(calibration.of(layer + "mlp.gate_proj.weight").feedback,
            calibration.of(layer + "mlp.up_proj.weight").feedback);
}

TEST_F(CalibrateTest, AnInterruptionEndsIt) {
  Calibration calibration(files_, SpanModel::text(), team_,
                          [](int64_t, int64_t) { throw Error(ErrorCode::cancelled, "stopped"); });
  EXPECT_EQ(error_of([&] { calibration.of("model.layers.0.self_attn.q_proj.weight").feedback; }), "cancelled");
}

TEST_F(CalibrateTest, AShortTextIsRefused) {
  std::string detail;
  EXPECT_EQ(error_of([&] { Calibration(files_, "too short", team_, {}); }, &detail), "invalid_argument");
  EXPECT_THAT(detail, ::testing::HasSubstr("at least 128 are needed"));
}

}  // namespace
}  // namespace qwin
