// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "io/json.h"

namespace qwin {
namespace {

using ::testing::HasSubstr;

// Standard output of `qwin show` with these arguments.
std::string show(std::vector<std::string> arguments) {
  CLI::App app;
  register_show(app);
  arguments.insert(arguments.begin(), "show");
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last first
  ::testing::internal::CaptureStdout();
  try {
    app.parse(arguments);
  } catch (...) {
    ::testing::internal::GetCapturedStdout();
    throw;
  }
  return ::testing::internal::GetCapturedStdout();
}

std::string tiny(const std::string& name) { return QWIN_TESTDATA "/tiny/" + name; }

TEST(ShowTest, JsonHoldsTheFactsOfASafetensorsModel) {
  const Json facts = parse_json(show({tiny("qwen2_windowed"), "--json"}), "output", ErrorCode::io);
  EXPECT_EQ(facts["architecture"], "qwen2");
  EXPECT_EQ(facts["format"], "safetensors");
  EXPECT_EQ(facts["num_layers"], 3);
  EXPECT_EQ(facts["context"], 128);
  EXPECT_EQ(facts["layer_window"], Json({0, 16, 16}));
  EXPECT_EQ(facts["bits_per_weight"], 16.0);
  EXPECT_EQ(facts["tensor_types"]["BF16"]["tensors"], 38);
  EXPECT_EQ(facts["chat_template"], true);
  EXPECT_EQ(facts["eos_token_ids"], Json({302, 300}));
  EXPECT_EQ(facts["generation"].dump(), R"({"temperature":0.7,"top_p":0.8,"top_k":20,"repetition_penalty":1.05})");
  EXPECT_EQ(facts["rope"]["type"], "default");
}

TEST(ShowTest, JsonHoldsTheFactsOfAGgufFile) {
  const Json facts = parse_json(show({"--json", tiny("qwen2_tied_gguf_q8_0/model.gguf")}), "output", ErrorCode::io);
  EXPECT_EQ(facts["format"], "gguf");
  EXPECT_EQ(facts["tensor_types"]["Q8_0"]["tensors"], 15);
  EXPECT_EQ(facts["tensor_types"]["F32"]["tensors"], 11);
  EXPECT_GT(facts["bits_per_weight"], 8.5);
  EXPECT_LT(facts["bits_per_weight"], 9.0);
  EXPECT_EQ(facts["tie_word_embeddings"], true);
  EXPECT_EQ(facts["chat_template"], true);
  EXPECT_EQ(facts["generation"], Json::object());
}

TEST(ShowTest, TableNamesWindowsAndYarn) {
  EXPECT_THAT(show({tiny("qwen2_windowed")}), HasSubstr("layers 0 exact, 1-2 last 16 keys\n"));
  const std::string yarn = show({tiny("qwen2_yarn")});
  EXPECT_THAT(yarn, HasSubstr("all layers exact\n"));
  EXPECT_THAT(yarn, HasSubstr("theta 10000, YaRN factor 4 on 32 positions\n"));
}

TEST(ShowTest, AModelThatIsNotThereIsAnInputError) {
  try {
    show({"/nowhere/model.gguf"});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_TRUE(is_input_error(error.code()));
  }
}

}  // namespace
}  // namespace qwin
