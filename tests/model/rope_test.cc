// SPDX-License-Identifier: Apache-2.0
// Against Qwen2RotaryEmbedding of transformers; rope_golden.json is made by tools/make_tiny_models.py.
#include "model/rope.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "io/json.h"
#include "model/config.h"

namespace qwin {
namespace {

const Json& golden() {
  static const Json document = [] {
    std::ifstream file(QWIN_TESTDATA "/model/rope_golden.json");
    std::ostringstream text;
    text << file.rdbuf();
    return parse_json(text.str(), "rope_golden.json", ErrorCode::io);
  }();
  return document;
}

ModelConfig config_of(const Json& test_case) {
  const uint32_t head_dim = test_case["head_dim"];
  ModelFiles files;
  files.format = ModelFiles::Format::safetensors;
  files.path = "test";
  files.config = {
      {"model_type", "qwen2"},  {"hidden_size", 2 * head_dim},      {"intermediate_size", 64},
      {"num_hidden_layers", 1}, {"num_attention_heads", 2},         {"num_key_value_heads", 1},
      {"vocab_size", 8},        {"max_position_embeddings", 32768}, {"rope_parameters", test_case["rope_parameters"]}};
  return read_model_config(files);
}

TEST(RopeTest, FrequenciesEqualTransformersToTheLastBitOrTwo) {
  ASSERT_EQ(golden()["cases"].size(), 7u);
  for (const Json& test_case : golden()["cases"]) {
    SCOPED_TRACE(test_case["name"].get<std::string>());
    const RopeTable rope = make_rope(config_of(test_case));
    const auto expected = test_case["inv_freq"].get<std::vector<float>>();
    ASSERT_EQ(rope.inv_freq.size(), expected.size());
    size_t equal = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(rope.inv_freq[i], expected[i], 1.3e-7 * expected[i]) << "pair " << i;
      equal += rope.inv_freq[i] == expected[i];
    }
    EXPECT_GE(equal + 3, expected.size());  // torch's pow is not always correctly rounded
    EXPECT_FLOAT_EQ(rope.attention_scaling, test_case["attention_scaling"].get<float>());
  }
}

TEST(RopeTest, CosAndSinEqualTransformersUpTo131071) {
  const auto positions = golden()["positions"].get<std::vector<int64_t>>();
  ASSERT_EQ(positions.back(), 131071);
  for (const Json& test_case : golden()["cases"]) {
    SCOPED_TRACE(test_case["name"].get<std::string>());
    const RopeTable rope = make_rope(config_of(test_case));
    const auto inv_freq = test_case["inv_freq"].get<std::vector<float>>();
    const auto cos = test_case["cos"].get<std::vector<float>>(), sin = test_case["sin"].get<std::vector<float>>();
    const size_t half = inv_freq.size();
    std::vector<float> c(half), s(half);
    for (size_t p = 0; p < positions.size(); ++p) {
      fill_cos_sin(rope, positions[p], c.data(), s.data());
      for (size_t i = 0; i < half; ++i) {
        // Where the frequency is the same float so is the angle, however large; elsewhere it may differ by its last
        // bit.
        const float last_bit = rope.inv_freq[i] == inv_freq[i] ? 0 : 2.5e-7f * positions[p] * inv_freq[i];
        const float tolerance = (3e-7f + last_bit) * rope.attention_scaling;
        ASSERT_NEAR(c[i], cos[p * half + i], tolerance) << "position " << positions[p] << " pair " << i;
        ASSERT_NEAR(s[i], sin[p * half + i], tolerance) << "position " << positions[p] << " pair " << i;
      }
    }
  }
}

TEST(RopeTest, CosAndSinAreExactForTheRoundedAngleAtEveryPositionOfTheContext) {
  ModelConfig config;
  config.head_dim = 128;
  config.rope_theta = 1e6;
  const RopeTable rope = make_rope(config);
  std::vector<float> c(64), s(64);
  double worst = 0;
  for (int64_t position = 0; position < 32768; position += 7) {
    fill_cos_sin(rope, position, c.data(), s.data());
    for (size_t i = 0; i < 64; ++i) {
      const double angle = static_cast<float>(position) * rope.inv_freq[i];
      worst = std::max({worst, std::abs(c[i] - std::cos(angle)), std::abs(s[i] - std::sin(angle))});
    }
  }
  EXPECT_LE(worst, 6.1e-8);
}

TEST(RopeTest, PositionZeroTurnsNothing) {
  ModelConfig config;
  config.head_dim = 8;
  config.rope_theta = 10000;
  float c[4], s[4];
  fill_cos_sin(make_rope(config), 0, c, s);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(c[i], 1.0f);
    EXPECT_EQ(s[i], 0.0f);
  }
}

}  // namespace
}  // namespace qwin
