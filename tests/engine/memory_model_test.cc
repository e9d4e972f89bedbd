// SPDX-License-Identifier: Apache-2.0
// A model whose weights lie in the caller's memory, and the hidden states of prompts.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/tiny_models.h"
#include "io/model_files.h"
#include "quant/dequantize.h"

namespace qwin {

namespace {

const std::vector<int32_t> kPrompt = {5, 9, 200, 7, 11, 250, 3};

// The tensors of a directory, copied, so that they can be spoilt.
struct Copies {
  explicit Copies(const std::string& directory) {
    const ModelFiles files = open_model_files(directory);
    for (const TensorInfo& tensor : files.tensors.tensors()) {
      bytes.emplace_back(tensor.data.text());
      views.push_back({.name = tensor.name,
                       .dtype = std::string(dtype_info(tensor.dtype).name),
                       .shape = tensor.shape,
                       .data = bytes.back().data()});
    }
    for (size_t i = 0; i < views.size(); ++i) views[i].data = bytes[i].data();
  }
  void spoil() {
    for (std::string& one : bytes) std::ranges::fill(one, '\xff');
  }

  std::vector<std::string> bytes;
  std::vector<MemoryTensor> views;
};

class MemoryModelTest : public testing::TestWithParam<const char*> {};

TEST_P(MemoryModelTest, GivesTheLogitsOfItsDirectoryAndOutlivesItsTensors) {
  for (const CpuIsa isa : {detect_cpu_isa(), CpuIsa::float32}) {
    const CpuIsaScope scope(isa);
    const std::string directory = tiny_path(GetParam());
    Copies copies(directory);
    const EngineOptions options{.num_threads = 1, .kv_memory_bytes = 16 << 20};
    const auto from_memory = Engine::load(directory, copies.views, options);
    copies.spoil();
    const auto from_files = Engine::load(directory, options);
    EXPECT_EQ(logits_of(*from_memory, kPrompt), logits_of(*from_files, kPrompt));
    EXPECT_EQ(from_memory->info().num_parameters, from_files->info().num_parameters);
    EXPECT_GE(from_memory->info().weight_bytes, from_files->info().weight_bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(TinyModels, MemoryModelTest,
                         testing::Values("qwen2_tied", "qwen2_untied_bf16", "qwen2_sharded_f16", "qwen3"));

ErrorCode code_of(const std::vector<MemoryTensor>& tensors) {
  try {
    Engine::load(tiny_path("qwen2_tied"), tensors, {.num_threads = 1, .kv_memory_bytes = 16 << 20});
  } catch (const Error& e) {
    return e.code();
  }
  return ErrorCode::cancelled;
}

TEST(MemoryModelTest, RefusesWhatAFileWouldBeRefusedFor) {
  const Copies copies(tiny_path("qwen2_tied"));
  auto tensors = copies.views;
  tensors[0].dtype = "F64";
  EXPECT_EQ(code_of(tensors), ErrorCode::bad_type);
  tensors = copies.views;
  tensors[0].shape[0] -= 1;
  EXPECT_EQ(code_of(tensors), ErrorCode::bad_shape);
  tensors = copies.views;
  tensors.pop_back();
  EXPECT_EQ(code_of(tensors), ErrorCode::missing_tensor);
  tensors.push_back(tensors[0]);
  EXPECT_EQ(code_of(tensors), ErrorCode::bad_shape);
}

// [num_tokens, hidden_size]
std::vector<float> hidden_states_of(Engine& engine, std::span<const int32_t> token_ids) {
  std::vector<float> states;
  engine.hidden_states(
      token_ids, [&](int64_t, std::span<const float> row) { states.insert(states.end(), row.begin(), row.end()); });
  return states;
}

TEST(HiddenStatesTest, AreWhatTheHeadTurnsIntoLogits) {
  const auto engine = load_tiny("qwen2_tied", CpuIsa::float32);
  const size_t hidden = engine->info().hidden_size, vocab = engine->info().vocab_size;
  const std::vector<float> states = hidden_states_of(*engine, kPrompt);
  ASSERT_EQ(states.size(), kPrompt.size() * hidden);

  const ModelFiles files = open_model_files(tiny_path("qwen2_tied"));
  const TensorInfo& head = *files.tensors.find("model.embed_tokens.weight");
  std::vector<float> weights(vocab * hidden);
  dequantize(head.dtype, head.data.data(), weights.size(), weights.data());
  std::vector<float> logits(kPrompt.size() * vocab);
  for (size_t t = 0; t < kPrompt.size(); ++t)
    for (size_t v = 0; v < vocab; ++v)
      for (size_t h = 0; h < hidden; ++h) logits[t * vocab + v] += states[t * hidden + h] * weights[v * hidden + h];
  EXPECT_LT(nmse(logits, logits_of(*engine, kPrompt)), 1e-10);
}

TEST(HiddenStatesTest, OfLongPromptsComeBesideAnswersBitForBit) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 90; ++i) prompt.push_back(i * 7 % 300);
  const std::vector<float> alone = hidden_states_of(*engine, prompt);
  engine->submit({.prompt = {1, 2, 3}, .sampling = {.max_tokens = 200, .ignore_eos = true}}, {});
  EXPECT_EQ(hidden_states_of(*engine, prompt), alone);
  EXPECT_THROW(hidden_states_of(*engine, std::vector<int32_t>{}), Error);
}

}  // namespace

}  // namespace qwin
