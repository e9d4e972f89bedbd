// SPDX-License-Identifier: Apache-2.0
// GGUF metadata, made in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <limits>

#include "model/checkpoint_names.h"
#include "model/config.h"

namespace qwin {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Metadata of a small Qwen2.5, to be changed key by key. Owns what the string views point to.
class Metadata {
 public:
  explicit Metadata(const std::string& architecture = "qwen2") : architecture_(architecture) {
    text("general.architecture", architecture);
    count(".embedding_length", 64);
    count(".feed_forward_length", 96);
    count(".block_count", 3);
    count(".attention.head_count", 4);
    count(".attention.head_count_kv", 2);
    count(".context_length", 128);
    real(".attention.layer_norm_rms_epsilon", 1e-6f);
    real(".rope.freq_base", 1e6);
  }
  // A key that begins with a dot belongs to the architecture.
  Metadata& set(const std::string& key, GgufValue value) {
    const std::string full = key[0] == '.' ? architecture_ + key : key;
    for (auto& entry : entries_) {
      if (entry.first == full) {
        entry.second = std::move(value);
        return *this;
      }
    }
    entries_.emplace_back(full, std::move(value));
    return *this;
  }
  Metadata& remove(const std::string& key) {
    std::erase_if(entries_, [&](const auto& entry) { return entry.first == architecture_ + key; });
    return *this;
  }
  Metadata& count(const std::string& key, uint64_t value) {
    GgufValue v;
    v.type = value >> 32 ? GgufType::u64 : GgufType::u32;
    v.u = value;
    return set(key, v);
  }
  Metadata& real(const std::string& key, double value) {
    GgufValue v;
    v.type = GgufType::f32;
    v.f = value;
    return set(key, v);
  }
  Metadata& flag(const std::string& key, bool value) {
    GgufValue v;
    v.type = GgufType::boolean;
    v.u = value;
    return set(key, v);
  }
  Metadata& text(const std::string& key, const std::string& value) {
    texts_.push_back(value);
    GgufValue v;
    v.type = GgufType::string;
    v.s = texts_.back();
    return set(key, v);
  }
  Metadata& tokens(size_t n) {
    GgufValue v;
    v.type = GgufType::array;
    v.element_type = GgufType::string;
    v.count = n;
    v.strings.assign(n, "x");
    return set("tokenizer.ggml.tokens", v);
  }
  Metadata& flags(const std::string& key, const std::string& bytes) {
    texts_.push_back(bytes);
    GgufValue v;
    v.type = GgufType::array;
    v.element_type = GgufType::boolean;
    v.count = bytes.size();
    v.elements = FileSpan::of_memory(texts_.back().data(), bytes.size());
    return set(key, v);
  }

  ModelFiles files() const {
    ModelFiles files;
    files.format = ModelFiles::Format::gguf;
    files.path = "/models/tiny.gguf";
    for (const auto& [key, value] : entries_) files.gguf.add(key, value);
    TensorInfo embedding;
    embedding.name = "token_embd.weight";
    embedding.shape = {320, 64};
    files.tensors.add(embedding);
    return files;
  }
  ModelConfig read() const { return read_model_config(files()); }

 private:
  std::string architecture_;
  std::deque<std::pair<std::string, GgufValue>> entries_;
  std::deque<std::string> texts_;
};

void expect_refusal(const Metadata& metadata, const std::string& named, ErrorCode code = ErrorCode::bad_config) {
  try {
    metadata.read();
    ADD_FAILURE() << "not refused; expected a refusal naming " << named;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(named));
  }
}

TEST(GgufConfigTest, ReadsQwen2) {
  const ModelConfig c =
      Metadata().tokens(320).text("general.name", "Tiny").count("tokenizer.ggml.eos_token_id", 302).read();
  EXPECT_EQ(c.architecture, "qwen2");
  EXPECT_EQ(c.name, "Tiny");
  EXPECT_EQ(c.hidden_size, 64u);
  EXPECT_EQ(c.intermediate_size, 96u);
  EXPECT_EQ(c.num_layers, 3u);
  EXPECT_EQ(c.num_heads, 4u);
  EXPECT_EQ(c.num_kv_heads, 2u);
  EXPECT_EQ(c.head_dim, 16u);
  EXPECT_EQ(c.vocab_size, 320u);
  EXPECT_EQ(c.max_positions, 128u);
  EXPECT_EQ(c.rms_norm_eps, 1e-6f);
  EXPECT_EQ(c.rope_theta, 1e6);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_TRUE(c.qkv_bias);
  EXPECT_FALSE(c.qk_norm);
  EXPECT_THAT(c.layer_window, ElementsAre(0, 0, 0));
  EXPECT_THAT(c.eos_token_ids, ElementsAre(302));
}

TEST(GgufConfigTest, ReadsQwen3WithItsOwnHeadSize) {
  Metadata metadata("qwen3");
  metadata.count(".attention.key_length", 32).count(".attention.value_length", 32).count(".rope.dimension_count", 32);
  const ModelConfig c = metadata.read();
  EXPECT_EQ(c.head_dim, 32u);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_FALSE(c.qkv_bias);
  EXPECT_EQ(c.name, "tiny.gguf");
}

TEST(GgufConfigTest, AHeadOfItsOwnMeansUntied) {
  const Metadata metadata;
  ModelFiles files = metadata.files();
  TensorInfo head;
  head.name = "output.weight";
  head.shape = {320, 64};
  files.tensors.add(head);
  EXPECT_FALSE(read_model_config(files).tie_word_embeddings);
}

TEST(GgufConfigTest, YarnExtendsTheContextAndScalesAttentionAsTransformersDoes) {
  Metadata metadata;
  metadata.text(".rope.scaling.type", "yarn").real(".rope.scaling.factor", 4);
  metadata.count(".rope.scaling.original_context_length", 128);
  const ModelConfig c = metadata.read();
  EXPECT_TRUE(c.yarn.enabled);
  EXPECT_EQ(c.yarn.original_max_positions, 128u);
  EXPECT_EQ(c.max_positions, 512u);
  EXPECT_DOUBLE_EQ(c.yarn.attention_factor, 0.1 * std::log(4.0) + 1);
  EXPECT_DOUBLE_EQ(metadata.real(".rope.scaling.attn_factor", 0.5).read().yarn.attention_factor,
                   0.5 * (0.1 * std::log(4.0) + 1));
  EXPECT_FALSE(Metadata().text(".rope.scaling.type", "none").read().yarn.enabled);
  EXPECT_FALSE(Metadata().text(".rope.scaling.type", "linear").real(".rope.scaling.factor", 1).read().yarn.enabled);
}

TEST(GgufConfigTest, WindowsFollowThePattern) {
  EXPECT_THAT(Metadata().count(".attention.sliding_window", 16).read().layer_window, ElementsAre(16, 16, 16));
  EXPECT_THAT(Metadata().count(".attention.sliding_window", 128).read().layer_window, Each(0u));
  Metadata pattern;
  pattern.count(".attention.sliding_window", 16).flags(".attention.sliding_window_pattern", std::string("\0\1\1", 3));
  EXPECT_THAT(pattern.read().layer_window, ElementsAre(0, 16, 16));
  Metadata period;
  period.count(".attention.sliding_window", 16).count(".attention.sliding_window_pattern", 3);
  EXPECT_THAT(period.read().layer_window, ElementsAre(16, 16, 0));
  pattern.flags(".attention.sliding_window_pattern", "\1");
  expect_refusal(pattern, "attention.sliding_window_pattern");
}

TEST(GgufConfigTest, SamplingDefaultsAndAllEndOfSequenceIds) {
  Metadata metadata;
  metadata.real("general.sampling.temp", 0.7f).real("general.sampling.top_p", 0.8f);
  metadata.real("general.sampling.penalty_repeat", 1.05f).count("general.sampling.top_k", 20);
  metadata.count("tokenizer.ggml.eos_token_id", 302).count("tokenizer.ggml.eot_token_id", 300);
  const ModelConfig c = metadata.read();
  EXPECT_FLOAT_EQ(c.default_temperature, 0.7f);
  EXPECT_FLOAT_EQ(c.default_top_p, 0.8f);
  EXPECT_FLOAT_EQ(c.default_repetition_penalty, 1.05f);
  EXPECT_EQ(c.default_top_k, 20);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(302, 300));
}

TEST(GgufConfigRefusalTest, OtherArchitectures) {
  for (const char* name : {"qwen2moe", "llama", "qwen2vl", "qwen3moe", ""}) {
    expect_refusal(Metadata(name), "general.architecture");
  }
  expect_refusal(Metadata().count("general.architecture", 3), "general.architecture");
}

TEST(GgufConfigRefusalTest, MissingKeys) {
  for (const char* key : {".embedding_length", ".feed_forward_length", ".block_count", ".attention.head_count",
                          ".context_length", ".attention.layer_norm_rms_epsilon"}) {
    expect_refusal(Metadata().remove(key), std::string("qwen2") + key + " is missing");
  }
}

TEST(GgufConfigRefusalTest, SizesOutOfBounds) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  expect_refusal(Metadata().count(".attention.head_count", 0), "qwen2.attention.head_count");
  expect_refusal(Metadata().count(".attention.head_count_kv", 0), "qwen2.attention.head_count_kv");
  expect_refusal(Metadata().count(".attention.head_count_kv", 3), "qwen2.attention.head_count_kv");
  expect_refusal(Metadata().count(".block_count", 0), "qwen2.block_count");
  expect_refusal(Metadata().count(".block_count", 1u << 31), "qwen2.block_count");
  expect_refusal(Metadata().count(".block_count", 1ull << 32), "qwen2.block_count");
  expect_refusal(Metadata().count(".embedding_length", 0), "qwen2.embedding_length");
  expect_refusal(Metadata().count(".embedding_length", 60), "qwen2.embedding_length / qwen2.attention.head_count");
  expect_refusal(Metadata().count(".embedding_length", 62), "qwen2.embedding_length");
  expect_refusal(Metadata().count(".feed_forward_length", 0), "qwen2.feed_forward_length");
  expect_refusal(Metadata().count(".context_length", 0), "qwen2.context_length");
  expect_refusal(Metadata().count(".attention.key_length", 15), "qwen2.attention.key_length");
  expect_refusal(Metadata().count(".attention.key_length", 512), "qwen2.attention.key_length");
  expect_refusal(Metadata().count(".attention.value_length", 32), "qwen2.attention.value_length");
  expect_refusal(Metadata().count(".rope.dimension_count", 8), "qwen2.rope.dimension_count");
  for (double eps : {nan, -1.0, 0.0, inf}) {
    expect_refusal(Metadata().real(".attention.layer_norm_rms_epsilon", eps), "layer_norm_rms_epsilon");
  }
  for (double theta : {nan, -1.0, 0.0, 1.0, inf}) {
    expect_refusal(Metadata().real(".rope.freq_base", theta), "qwen2.rope.freq_base");
  }
  expect_refusal(Metadata().text(".block_count", "3"), "qwen2.block_count");
}

TEST(GgufConfigRefusalTest, OtherMathematics) {
  expect_refusal(Metadata().count(".expert_count", 8), "qwen2.expert_count");
  expect_refusal(Metadata().real(".attention.scale", 0.5), "qwen2.attention.scale");
  expect_refusal(Metadata().real(".logit_scale", 0.5), "qwen2.logit_scale");
  expect_refusal(Metadata().flag(".attention.causal", false), "qwen2.attention.causal");
  expect_refusal(Metadata().flag(".use_parallel_residual", true), "qwen2.use_parallel_residual");
  expect_refusal(Metadata().count(".nextn_predict_layers", 1), "qwen2.nextn_predict_layers");
  expect_refusal(Metadata().text(".rope.scaling.type", "longrope"), "qwen2.rope.scaling.type");
  expect_refusal(Metadata().text(".rope.scaling.type", "linear").real(".rope.scaling.factor", 2), "rope.scaling.type");
  expect_refusal(Metadata().real(".rope.scaling.factor", 2), "rope.scaling.type");
  expect_refusal(Metadata().text(".rope.scaling.type", "yarn").real(".rope.scaling.factor", NAN),
                 "rope.scaling.factor");
  EXPECT_NO_THROW(Metadata().count(".expert_count", 0).real(".logit_scale", 1).flag(".attention.causal", true).read());
}

TEST(GgufConfigRefusalTest, ATokenizerThatDoesNotFitTheEmbedding) {
  expect_refusal(Metadata().tokens(319), "tokenizer.ggml.tokens", ErrorCode::bad_tokenizer);
  expect_refusal(Metadata().count("tokenizer.ggml.eos_token_id", 1u << 31), "tokenizer.ggml.eos_token_id",
                 ErrorCode::bad_tokenizer);
  expect_refusal(Metadata().count(".vocab_size", 319), "qwen2.vocab_size");
}

}  // namespace
}  // namespace qwin
