// SPDX-License-Identifier: Apache-2.0
// The forward pass as a whole: the tiny models through Engine, against the logits that transformers computes for them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "engine/tiny_models.h"
#include "io/gguf_file_writer.h"
#include "model/checkpoint_names.h"

namespace qwin {

namespace {

std::vector<CpuIsa> rungs() {
  std::vector<CpuIsa> found = {CpuIsa::reference};
  for (const CpuIsa isa : {CpuIsa::avx2, CpuIsa::avx512, CpuIsa::avx512_vnni}) {
    if (isa <= detect_cpu_isa()) found.push_back(isa);
  }
  return found;
}

// Share of positions whose best token is the golden one.
double same_best(const std::vector<float>& test, const std::vector<float>& golden, size_t vocab_size) {
  size_t same = 0;
  for (size_t at = 0; at < golden.size(); at += vocab_size) {
    const auto best = [&](const std::vector<float>& v) {
      return std::max_element(&v[at], &v[at] + vocab_size) - &v[at];
    };
    same += best(test) == best(golden);
  }
  return static_cast<double>(same) / static_cast<double>(golden.size() / vocab_size);
}

class ForwardTest : public testing::TestWithParam<const char*> {};

TEST_P(ForwardTest, Float32EqualsTransformers) {
  const auto engine = load_tiny(GetParam(), CpuIsa::float32, {.kv_type = KvCacheType::f32});
  EXPECT_EQ(engine->info().isa, "float32");
  for (const GoldenPrompt& prompt : golden_prompts(GetParam())) {
    const std::vector<float> logits = logits_of(*engine, prompt.token_ids);
    ASSERT_EQ(logits.size(), prompt.logits.size());
    EXPECT_LE(nmse(logits, prompt.logits), 1e-8);
    EXPECT_EQ(same_best(logits, prompt.logits, engine->info().vocab_size), 1.0);
  }
}

// Eight bits a value are some 3 % of noise in these models, whose few random weights average nothing out; keys of 300
// in 16 bits add theirs.
TEST_P(ForwardTest, IntegersAreNearTransformersOnEveryRung) {
  for (const CpuIsa isa : rungs()) {
    const auto engine = load_tiny(GetParam(), isa);
    EXPECT_EQ(engine->info().isa, cpu_isa_name(isa));
    for (const GoldenPrompt& prompt : golden_prompts(GetParam())) {
      const std::vector<float> logits = logits_of(*engine, prompt.token_ids);
      const double error = nmse(logits, prompt.logits);
      EXPECT_LE(error, 2e-3) << cpu_isa_name(isa);
      EXPECT_GT(error, 1e-9) << "this is not the integer path";
      EXPECT_GE(same_best(logits, prompt.logits, engine->info().vocab_size), 0.9) << cpu_isa_name(isa);
    }
  }
}

TEST_P(ForwardTest, EveryRungGivesTheSameBits) {
  for (const KvCacheType kv_type : {KvCacheType::f32, KvCacheType::f16, KvCacheType::q8}) {
    const auto reference = load_tiny(GetParam(), CpuIsa::reference, {.kv_type = kv_type});
    for (const CpuIsa isa : rungs()) {
      const auto engine = load_tiny(GetParam(), isa, {.kv_type = kv_type});
      for (const GoldenPrompt& prompt : golden_prompts(GetParam())) {
        EXPECT_EQ(logits_of(*engine, prompt.token_ids), logits_of(*reference, prompt.token_ids)) << cpu_isa_name(isa);
      }
    }
  }
}

TEST_P(ForwardTest, GreedyContinuationIsTransformersOwn) {
  const auto engine = load_tiny(GetParam(), CpuIsa::float32, {.kv_type = KvCacheType::f32});
  for (const GoldenPrompt& prompt : golden_prompts(GetParam())) {
    const GenerationResult result =
        engine->generate({.prompt = prompt.token_ids, .sampling = {.max_tokens = 16, .ignore_eos = true}});
    ASSERT_EQ(result.token_ids.size(), 16u);
    for (size_t i = 0; i < 16; ++i) {
      if (prompt.greedy_margin[i] < 1e-3f) break;
      // An id beyond the tokenizer's is never sampled, transformers may choose one.
      if (prompt.greedy[i] >= 303) break;
      ASSERT_EQ(result.token_ids[i], prompt.greedy[i]) << "step " << i;
    }
  }
}

TEST_P(ForwardTest, TextIsTokenizedAsTheGoldenPrompt) {
  const auto engine = load_tiny(GetParam(), CpuIsa::reference);
  for (const GoldenPrompt& prompt : golden_prompts(GetParam())) {
    if (prompt.text) {
      EXPECT_EQ(engine->tokenize_prompt(*prompt.text), prompt.token_ids);
    }
  }
}

TEST_P(ForwardTest, ThreadsDoNotChangeABit) {
  const GoldenPrompt prompt = golden_prompts(GetParam())[1];
  const std::vector<float> one =
      logits_of(*load_tiny(GetParam(), detect_cpu_isa(), {.num_threads = 1}), prompt.token_ids);
  EXPECT_EQ(logits_of(*load_tiny(GetParam(), detect_cpu_isa(), {.num_threads = 3}), prompt.token_ids), one);
}

// The model of qwen2_yarn with its stretched context told by GGUF metadata; its prompts are longer than the
// original 32.
void write_yarn_gguf(const std::string& path) {
  const ModelFiles model = open_model_files(tiny_path("qwen2_yarn")),
                   plain = open_model_files(tiny_path("qwen2_tied_gguf_f32"));
  GgufFileWriter writer(path);
  const auto add_float = [&](const char* key, double number) {
    GgufValue value;
    value.type = GgufType::f32, value.f = number;
    writer.add(key, value);
  };
  for (const auto& [key, value] : plain.gguf.entries()) {
    if (key != "qwen2.context_length" && key != "qwen2.rope.freq_base") writer.add(key, value);
  }
  writer.add_uint("qwen2.context_length", 32);
  add_float("qwen2.rope.freq_base", 1e4);
  writer.add_string("qwen2.rope.scaling.type", "yarn");
  add_float("qwen2.rope.scaling.factor", 4);
  writer.add_uint("qwen2.rope.scaling.original_context_length", 32);
  for (const TensorInfo& tensor : model.tensors.tensors())
    writer.add_tensor(gguf_tensor_name(tensor.name), tensor.dtype, tensor.shape);
  for (const TensorInfo& tensor : model.tensors.tensors()) writer.write_tensor(tensor.data.data(), tensor.data.size());
  writer.finish();
}

TEST(ForwardYarnTest, GgufMetadataGiveTransformersLogitsBeyondTheOriginalLength) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("qwin_yarn_" + std::to_string(::getpid()) + ".gguf");
  write_yarn_gguf(path);
  {
    const CpuIsaScope scope(CpuIsa::float32);
    const auto engine =
        Engine::load(path, {.num_threads = 1, .kv_type = KvCacheType::f32, .kv_memory_bytes = 16 << 20});
    EXPECT_EQ(engine->info().model_context_length, 128);
    for (const GoldenPrompt& prompt : golden_prompts("qwen2_yarn")) {
      EXPECT_GT(prompt.token_ids.size(), 32u);
      EXPECT_LE(nmse(logits_of(*engine, prompt.token_ids), prompt.logits), 1e-8);
    }
  }
  std::filesystem::remove(path);
}

INSTANTIATE_TEST_SUITE_P(TinyModels, ForwardTest, testing::ValuesIn(kTinyModels),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace

}  // namespace qwin
