// SPDX-License-Identifier: Apache-2.0
#include "model/key_channels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwin {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// Two KV heads of 16 channels; RoPE pairs channel i with i + 8.
ModelFiles with_key_bias(const std::vector<float>& of_layer_0, const std::vector<float>& of_layer_1) {
  ModelFiles files = open_model_files(QWIN_TESTDATA "/tiny/qwen2_tied");
  TensorTable table;
  for (TensorInfo tensor : files.tensors.tensors()) {
    const bool first = tensor.name == "model.layers.0.self_attn.k_proj.bias";
    const std::vector<float>& bias = first ? of_layer_0 : of_layer_1;
    if (first || tensor.name == "model.layers.1.self_attn.k_proj.bias")
      tensor.data = FileSpan::of_memory(bias.data(), bias.size() * sizeof(float));
    table.add(std::move(tensor));
  }
  files.tensors = std::move(table);
  return files;
}

TEST(WideKeyChannelsTest, ListsThePairsThatStickOutTheWidestFirst) {
  std::vector<float> bias(32), even(32, 1.9f / std::sqrt(2.0f));
  bias[3] = -2.5f;                                      // wide, with its pair
  bias[4] = 60, bias[12] = 80;                          // widest
  bias[16 + 1] = 300, bias[16 + 9] = 1, bias[31] = -9;  // of the second head
  bias[16] = bias[24] = 1.5f;                           // together above 2
  const ModelFiles files = with_key_bias(bias, even);
  const std::vector<WideKeyChannels> layers = wide_key_channels(read_model_config(files), files);
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0].count, 8);
  EXPECT_EQ(layers[0].in_bounds, 4);
  EXPECT_THAT(layers[0].channels, ElementsAre(4, 12, 3, 11, -1, -1, -1, -1, 1, 9, 7, 15, 0, 8, -1, -1));
  EXPECT_EQ(layers[1].count, 0);
  EXPECT_EQ(layers[1].in_bounds, 0);
  EXPECT_THAT(layers[1].channels, ElementsAre());
}

TEST(WideKeyChannelsTest, WithANormOfKeysItsWeightsDecide) {
  const ModelFiles files = open_model_files(QWIN_TESTDATA "/tiny/qwen3");
  for (const WideKeyChannels& layer : wide_key_channels(read_model_config(files), files)) {
    EXPECT_EQ(layer.count, 0) << "made with weights around 1";
    EXPECT_THAT(layer.channels, Each(-1));
  }
}

}  // namespace
}  // namespace qwin
