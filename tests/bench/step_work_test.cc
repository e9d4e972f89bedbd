// SPDX-License-Identifier: Apache-2.0
#include "bench/step_work.h"

#include <gtest/gtest.h>

#include <string>

namespace qwin {

namespace {

constexpr ModelWork kModel{.block_macs = 100, .head_macs = 30, .block_bytes = 1000, .head_bytes = 200, .kv_bytes = 7};

TEST(StepWorkTest, WeightsAreReadOnceAndMultipliedOnceAToken) {
  const Work step = step_work(kModel, 8, 8, 80);
  EXPECT_EQ(step.macs, 8 * 100 + 8 * 30);
  EXPECT_EQ(step.bytes, 1000 + 200 + 80 * 7);
}

TEST(StepWorkTest, WithoutLogitsTheHeadIsNotRead) {
  const Work chunk = step_work(kModel, 256, 0, 256);
  EXPECT_EQ(chunk.macs, 256 * 100);
  EXPECT_EQ(chunk.bytes, 1000 + 256 * 7);
}

TEST(StepWorkTest, AWindowBoundsTheKeys) {
  EXPECT_EQ(visible_keys(0, 0, 0), 1);
  EXPECT_EQ(visible_keys(9999, 0, 64), 10000);
  EXPECT_EQ(visible_keys(9999, 256, 64), 320);
  EXPECT_EQ(visible_keys(100, 256, 64), 101);
}

TEST(StepWorkTest, AModelsWorkFollowsFromItsShapes) {
  const ModelFiles files = open_model_files(std::string(QWIN_TESTDATA) + "/tiny/qwen2_tied_gguf_q8_0/model.gguf");
  const ModelConfig c = read_model_config(files);
  const uint64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim, h = c.hidden_size;
  const ModelWork work = model_work(c, files, WeightForm::stored, 64);
  EXPECT_EQ(work.block_macs, c.num_layers * (h * q + 2 * h * kv + q * h + 3 * h * c.intermediate_size));
  EXPECT_EQ(work.head_macs, h * c.vocab_size);
  EXPECT_EQ(work.kv_bytes, 64u);
  // Q8_0 has 34 bytes for 32 weights; packing pads tiles and spans.
  EXPECT_GE(work.block_bytes, work.block_macs * 34 / 32);
  EXPECT_GE(work.head_bytes, work.head_macs * 34 / 32);
}

}  // namespace

}  // namespace qwin
