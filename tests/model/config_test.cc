// SPDX-License-Identifier: Apache-2.0
// config.json side; GGUF metadata is in config_gguf_test.cc.
#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/checkpoint_names.h"

namespace qwin {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelFiles files_of(const Json& config) {
  ModelFiles files;
  files.format = ModelFiles::Format::safetensors;
  files.path = "/models/some-model/";
  files.config = config;
  return files;
}

// As published with Qwen2.5-7B-Instruct.
Json qwen25_7b() {
  return Json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645,
    "hidden_act": "silu", "hidden_size": 3584, "initializer_range": 0.02, "intermediate_size": 18944,
    "max_position_embeddings": 32768, "max_window_layers": 28, "model_type": "qwen2", "num_attention_heads": 28,
    "num_hidden_layers": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "sliding_window": 131072, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false, "vocab_size": 152064})");
}

// As published with Qwen3-8B.
Json qwen3_8b() {
  return Json::parse(R"({
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 12288, "max_position_embeddings": 40960, "max_window_layers": 36, "model_type": "qwen3",
    "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
    "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false,
    "vocab_size": 151936})");
}

// `changes` is a JSON merge patch: null removes a key.
ModelConfig read_changed(Json config, const char* changes) {
  config.merge_patch(Json::parse(changes));
  return read_model_config(files_of(config));
}

void expect_refusal(const ModelFiles& files, ErrorCode code, const std::string& named) {
  try {
    read_model_config(files);
    ADD_FAILURE() << "not refused; expected a refusal naming " << named;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(named));
  }
}

TEST(ConfigTest, ReadsQwen25As7BHasIt) {
  const ModelConfig c = read_model_config(files_of(qwen25_7b()));
  EXPECT_EQ(c.architecture, "qwen2");
  EXPECT_EQ(c.name, "some-model");
  EXPECT_EQ(c.hidden_size, 3584u);
  EXPECT_EQ(c.intermediate_size, 18944u);
  EXPECT_EQ(c.num_layers, 28u);
  EXPECT_EQ(c.num_heads, 28u);
  EXPECT_EQ(c.num_kv_heads, 4u);
  EXPECT_EQ(c.head_dim, 128u);
  EXPECT_EQ(c.vocab_size, 152064u);
  EXPECT_EQ(c.max_positions, 32768u);
  EXPECT_EQ(c.rms_norm_eps, 1e-6f);
  EXPECT_EQ(c.rope_theta, 1e6);
  EXPECT_FALSE(c.yarn.enabled);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_TRUE(c.qkv_bias);
  EXPECT_FALSE(c.qk_norm);
  EXPECT_EQ(c.layer_window, std::vector<uint32_t>(28, 0));
  EXPECT_THAT(c.eos_token_ids, ElementsAre(151645));
  EXPECT_EQ(c.default_temperature, -1);
}

TEST(ConfigTest, ReadsQwen3As8BHasIt) {
  const ModelConfig c = read_model_config(files_of(qwen3_8b()));
  EXPECT_EQ(c.architecture, "qwen3");
  EXPECT_EQ(c.head_dim, 128u);
  EXPECT_EQ(c.max_positions, 40960u);
  EXPECT_FALSE(c.qkv_bias);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_EQ(c.layer_window, std::vector<uint32_t>(36, 0));
}

struct Published {
  const char* name;
  uint32_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab;
  bool tied;
};
constexpr Published kPublished[] = {
    {"Qwen2.5-0.5B", 896, 4864, 24, 14, 2, 64, 151936, true},
    {"Qwen2.5-1.5B", 1536, 8960, 28, 12, 2, 128, 151936, true},
    {"Qwen2.5-3B", 2048, 11008, 36, 16, 2, 128, 151936, true},
    {"Qwen2.5-7B", 3584, 18944, 28, 28, 4, 128, 152064, false},
    {"Qwen2.5-14B", 5120, 13824, 48, 40, 8, 128, 152064, false},
    {"Qwen2.5-32B", 5120, 27648, 64, 40, 8, 128, 152064, false},
    {"Qwen2.5-72B", 8192, 29568, 80, 64, 8, 128, 152064, false},
    {"Qwen3-0.6B", 1024, 3072, 28, 16, 8, 128, 151936, true},
    {"Qwen3-1.7B", 2048, 6144, 28, 16, 8, 128, 151936, true},
    {"Qwen3-4B", 2560, 9728, 36, 32, 8, 128, 151936, true},
    {"Qwen3-8B", 4096, 12288, 36, 32, 8, 128, 151936, false},
    {"Qwen3-14B", 5120, 17408, 40, 40, 8, 128, 151936, false},
    {"Qwen3-32B", 5120, 25600, 64, 64, 8, 128, 151936, false},
};

TEST(ConfigTest, ReadsEveryPublishedDenseSize) {
  for (const Published& p : kPublished) {
    SCOPED_TRACE(p.name);
    const bool qwen3 = std::string(p.name).starts_with("Qwen3");
    Json config = qwen3 ? qwen3_8b() : qwen25_7b();
    config["hidden_size"] = p.hidden;
    config["intermediate_size"] = p.intermediate;
    config["num_hidden_layers"] = p.layers;
    config["num_attention_heads"] = p.heads;
    config["num_key_value_heads"] = p.kv_heads;
    config["vocab_size"] = p.vocab;
    config["tie_word_embeddings"] = p.tied;
    config["max_window_layers"] = 70;
    const ModelConfig c = read_model_config(files_of(config));
    EXPECT_EQ(c.head_dim, p.head_dim);
    EXPECT_EQ(c.tie_word_embeddings, p.tied);
    EXPECT_EQ(c.layer_window.size(), p.layers);
    EXPECT_THAT(c.layer_window, Each(0u));
  }
}

TEST(ConfigTest, AbsentKeysTakeTheDefaultsOfTransformers) {
  const ModelConfig c = read_changed(qwen25_7b(), R"({"num_key_value_heads": null, "rms_norm_eps": null,
      "rope_theta": null, "tie_word_embeddings": null, "hidden_act": null, "architectures": null, "eos_token_id": null})");
  EXPECT_EQ(c.num_kv_heads, 28u);
  EXPECT_EQ(c.rms_norm_eps, 1e-6f);
  EXPECT_EQ(c.rope_theta, 10000.0);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_TRUE(c.eos_token_ids.empty());
  EXPECT_EQ(read_changed(qwen3_8b(), R"({"head_dim": null})").head_dim, 128u);
}

TEST(ConfigTest, NullMeansAbsent) {
  Json config = qwen25_7b();
  for (const char* key : {"quantization_config", "rope_scaling", "rope_parameters", "layer_types", "head_dim"}) {
    config[key] = nullptr;
  }
  EXPECT_EQ(read_model_config(files_of(config)).head_dim, 128u);
}

TEST(ConfigTest, HarmlessKeysAreIgnored) {
  EXPECT_NO_THROW(read_changed(qwen25_7b(), R"({"use_mrope": false, "auto_map": {"AutoModel": "evil.py"},
      "attention_bias": true, "attention_dropout": 0.1, "pretraining_tp": 1, "num_experts": 0, "logit_scale": 1.0,
      "partial_rotary_factor": 1.0, "dual_chunk_attention_config": {}, "is_causal": true,
      "whatever_a_trainer_wrote": {"a": [1, 2]}})"));
}

TEST(ConfigTest, DualChunksAreReadAsQwenPublishesThem) {
  EXPECT_FALSE(read_changed(qwen25_7b(), "{}").dual_chunk.enabled());
  const ModelConfig c = read_changed(qwen25_7b(), R"({"max_position_embeddings": 1010000,
      "dual_chunk_attention_config": {"chunk_size": 262144, "local_size": 8192,
                                      "original_max_position_embeddings": 262144}})");
  EXPECT_TRUE(c.dual_chunk.enabled());
  EXPECT_EQ(c.dual_chunk.length(), 253952u);
  EXPECT_EQ(c.dual_chunk.original_max_positions, 262144u);
  EXPECT_EQ(c.max_positions, 1010000u);
  EXPECT_EQ(read_changed(qwen25_7b(), R"({"dual_chunk_attention_config": {"chunk_size": 256, "local_size": 64}})")
                .dual_chunk.original_max_positions,
            0u);
}

// Windows.

TEST(ConfigTest, LayersFromMaxWindowLayersOnSlideWhenUseSlidingWindowIsTrue) {
  const ModelConfig c = read_changed(qwen25_7b(), R"({"num_hidden_layers": 4, "use_sliding_window": true,
      "sliding_window": 16, "max_window_layers": 3})");
  EXPECT_THAT(c.layer_window, ElementsAre(0, 0, 0, 16));
}

TEST(ConfigTest, NothingSlidesWhenUseSlidingWindowIsFalseOrAbsent) {
  const char* changes[] = {R"({"num_hidden_layers": 2, "sliding_window": 16, "max_window_layers": 0})",
                           R"({"num_hidden_layers": 2, "sliding_window": 16, "max_window_layers": 0,
                               "use_sliding_window": null})"};
  for (const char* change : changes) EXPECT_THAT(read_changed(qwen25_7b(), change).layer_window, ElementsAre(0, 0));
}

TEST(ConfigTest, LayerTypesOverrideMaxWindowLayers) {
  const ModelConfig c = read_changed(qwen25_7b(), R"({"num_hidden_layers": 3, "use_sliding_window": true,
      "sliding_window": 16, "max_window_layers": 0,
      "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]})");
  EXPECT_THAT(c.layer_window, ElementsAre(16, 0, 16));
}

TEST(ConfigTest, AbsentSlidingWindowIs4096AndNullIsNone) {
  Json config = qwen25_7b();
  config["use_sliding_window"] = true;
  config["max_window_layers"] = 27;
  config["sliding_window"] = nullptr;
  EXPECT_THAT(read_model_config(files_of(config)).layer_window, Each(0u));
  config.erase("sliding_window");
  EXPECT_EQ(read_model_config(files_of(config)).layer_window.back(), 4096u);
}

// RoPE.

TEST(ConfigTest, YarnInTheOldSpellingExtendsTheContext) {
  const ModelConfig c = read_changed(qwen25_7b(), R"({"rope_scaling":
      {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"}})");
  EXPECT_TRUE(c.yarn.enabled);
  EXPECT_TRUE(c.yarn.truncate);
  EXPECT_EQ(c.yarn.factor, 4.0);
  EXPECT_EQ(c.yarn.beta_fast, 32.0);
  EXPECT_EQ(c.yarn.beta_slow, 1.0);
  EXPECT_EQ(c.yarn.original_max_positions, 32768u);
  EXPECT_DOUBLE_EQ(c.yarn.attention_factor, 0.1 * std::log(4.0) + 1);
  EXPECT_EQ(c.max_positions, 131072u);
  EXPECT_EQ(c.rope_theta, 1e6);
}

TEST(ConfigTest, YarnInTheNewSpellingBringsItsOwnTheta) {
  const ModelConfig c = read_changed(qwen3_8b(), R"({"rope_theta": null, "rope_parameters": {"rope_type": "yarn",
      "rope_theta": 5000000.0, "factor": 2.0, "original_max_position_embeddings": 32768, "beta_fast": 16,
      "beta_slow": 2, "truncate": false, "attention_factor": 0.9}})");
  EXPECT_EQ(c.rope_theta, 5e6);
  EXPECT_EQ(c.yarn.beta_fast, 16.0);
  EXPECT_EQ(c.yarn.beta_slow, 2.0);
  EXPECT_FALSE(c.yarn.truncate);
  EXPECT_EQ(c.yarn.attention_factor, 0.9);
  EXPECT_EQ(c.max_positions, 65536u);
}

TEST(ConfigTest, DefaultRopeInEitherSpellingIsPlain) {
  for (const char* change : {R"({"rope_scaling": {"type": "default"}})", R"({"rope_scaling": {}})",
                             R"({"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}})"}) {
    EXPECT_FALSE(read_changed(qwen25_7b(), change).yarn.enabled) << change;
  }
}

TEST(ConfigTest, YarnWithoutOriginalLengthTakesTheContextAndWithoutFactorTheRatio) {
  const ModelConfig c = read_changed(qwen25_7b(), R"({"rope_scaling": {"factor": 2.0, "type": "yarn"}})");
  EXPECT_EQ(c.yarn.original_max_positions, 32768u);
  const ModelConfig d = read_changed(qwen25_7b(), R"({"max_position_embeddings": 65536,
      "rope_scaling": {"original_max_position_embeddings": 32768, "type": "yarn"}})");
  EXPECT_EQ(d.yarn.factor, 2.0);
  EXPECT_EQ(d.max_positions, 65536u);
}

// Refusals: each names its key.

struct Refusal {
  const char* changes;
  const char* named;
};

void expect_refusals(const Json& base, std::initializer_list<Refusal> refusals) {
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.changes);
    Json config = base;
    config.merge_patch(Json::parse(refusal.changes));
    expect_refusal(files_of(config), ErrorCode::bad_config, refusal.named);
  }
}

TEST(ConfigRefusalTest, OtherArchitectures) {
  expect_refusals(qwen25_7b(), {{R"({"model_type": "qwen2_moe"})", "model_type"},
                                {R"({"model_type": "llama"})", "supported are"},
                                {R"({"model_type": "qwen2_vl"})", "model_type"},
                                {R"({"model_type": null})", "model_type"},
                                {R"({"model_type": 7})", "model_type"},
                                {R"({"architectures": ["Qwen2ForSequenceClassification"]})", "architectures"},
                                {R"({"architectures": ["Qwen3ForCausalLM"]})", "architectures"},
                                {R"({"architectures": []})", "architectures"},
                                {R"({"architectures": "Qwen2ForCausalLM"})", "architectures"}});
}

TEST(ConfigRefusalTest, MissingSizes) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                          "max_position_embeddings"}) {
    Json config = qwen25_7b();
    config.erase(key);
    expect_refusal(files_of(config), ErrorCode::bad_config, std::string(key) + " is missing");
  }
}

TEST(ConfigRefusalTest, SizesOutOfBounds) {
  expect_refusals(qwen25_7b(), {{R"({"num_attention_heads": 0})", "num_attention_heads"},
                                {R"({"num_key_value_heads": 0})", "num_key_value_heads"},
                                {R"({"num_key_value_heads": 5})", "num_key_value_heads"},
                                {R"({"num_key_value_heads": 56})", "num_key_value_heads"},
                                {R"({"num_hidden_layers": 0})", "num_hidden_layers"},
                                {R"({"num_hidden_layers": 2147483648})", "num_hidden_layers"},
                                {R"({"num_hidden_layers": 18446744073709551615})", "num_hidden_layers"},
                                {R"({"num_hidden_layers": -1})", "num_hidden_layers"},
                                {R"({"num_hidden_layers": 2.5})", "num_hidden_layers"},
                                {R"({"num_hidden_layers": "28"})", "num_hidden_layers"},
                                {R"({"num_hidden_layers": true})", "num_hidden_layers"},
                                {R"({"hidden_size": 0})", "hidden_size"},
                                {R"({"hidden_size": 3585})", "hidden_size"},
                                {R"({"intermediate_size": 0})", "intermediate_size"},
                                {R"({"head_dim": 127})", "head_dim"},
                                {R"({"head_dim": 0})", "head_dim"},
                                {R"({"head_dim": 4})", "head_dim"},
                                {R"({"head_dim": 24})", "head_dim"},
                                {R"({"head_dim": 512})", "head_dim"},
                                {R"({"hidden_size": 28})", "hidden_size / num_attention_heads"},
                                {R"({"vocab_size": 0})", "vocab_size"},
                                {R"({"vocab_size": 4294967296})", "vocab_size"},
                                {R"({"max_position_embeddings": 0})", "max_position_embeddings"},
                                {R"({"rms_norm_eps": 0})", "rms_norm_eps"},
                                {R"({"rms_norm_eps": -1})", "rms_norm_eps"},
                                {R"({"rms_norm_eps": 1e-300})", "rms_norm_eps"},
                                {R"({"rms_norm_eps": 1e300})", "rms_norm_eps"},
                                {R"({"rms_norm_eps": "1e-6"})", "rms_norm_eps"},
                                {R"({"rope_theta": 0})", "rope_theta"},
                                {R"({"rope_theta": 1})", "rope_theta"},
                                {R"({"rope_theta": -10000})", "rope_theta"},
                                {R"({"rope_theta": 1e40})", "rope_theta"},
                                {R"({"eos_token_id": 152064})", "eos_token_id"},
                                {R"({"eos_token_id": [151643, -1]})", "eos_token_id"},
                                {R"({"tie_word_embeddings": "yes"})", "tie_word_embeddings"}});
}

TEST(ConfigRefusalTest, OtherMathematics) {
  expect_refusals(qwen25_7b(), {{R"({"hidden_act": "gelu"})", "hidden_act"},
                                {R"({"quantization_config": {"quant_method": "awq"}})", "quantization_config"},
                                {R"({"compression_config": {"format": "int"}})", "compression_config"},
                                {R"({"num_experts": 8})", "num_experts"},
                                {R"({"vision_config": {"depth": 2}})", "vision_config"},
                                {R"({"use_mrope": true})", "use_mrope"},
                                {R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor"},
                                {R"({"is_causal": false})", "is_causal"},
                                {R"({"logit_scale": 0.5})", "logit_scale"},
                                {R"({"attn_logit_softcapping": 50.0})", "attn_logit_softcapping"}});
  expect_refusals(qwen3_8b(), {{R"({"attention_bias": true})", "attention_bias"}});
}

TEST(ConfigRefusalTest, OtherRope) {
  expect_refusals(
      qwen25_7b(),
      {{R"({"rope_scaling": {"type": "linear", "factor": 2.0}})", "rope_scaling: type"},
       {R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})", "rope_scaling: rope_type"},
       {R"({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}})", "rope_type"},
       {R"({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}})", "mrope_section"},
       {R"({"dual_chunk_attention_config": 8192})", "dual_chunk_attention_config"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 8192}})", "local_size"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 0, "local_size": 0}})", "local_size"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 1024, "local_size": 1024}})", "below chunk_size"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 1100, "local_size": 1000}})", "multiple of 64"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 4294967295, "local_size": 63}})", "too large"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 256, "local_size": -64}})", "local_size"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 256, "local_size": 64, "mscale": 2}})", "mscale"},
       {R"({"dual_chunk_attention_config": {"chunk_size": 256, "local_size": 64},
            "rope_scaling": {"type": "yarn", "factor": 4}})",
        "YaRN"},
       {R"({"rope_scaling": "yarn"})", "rope_scaling"},
       {R"({"rope_scaling": {"type": "yarn", "factor": 0.5}})", "factor"},
       {R"({"rope_scaling": {"type": "yarn", "factor": "4"}})", "factor"},
       {R"({"rope_scaling": {"type": "yarn", "factor": 1e9}})", "factor"},
       {R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": -1}})", "beta_fast"},
       {R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 1, "beta_slow": 32}})", "beta_fast"},
       {R"({"rope_scaling": {"type": "yarn", "factor": 4, "attention_factor": -1.0}})", "attention_factor"},
       {R"({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 0}})",
        "original_max_position_embeddings"},
       {R"({"rope_scaling": {"type": "yarn", "factor": 4, "truncate": 1}})", "truncate"},
       {R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})", "full_attention"},
       {R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})", "partial_rotary_factor"},
       {R"({"rope_parameters": {"rope_type": "default", "rope_theta": 0.0}})", "rope_theta"}});
}

TEST(ConfigRefusalTest, WindowsThatContradictThemselves) {
  expect_refusals(qwen25_7b(), {{R"({"use_sliding_window": true, "sliding_window": 0})", "sliding_window"},
                                {R"({"use_sliding_window": 1})", "use_sliding_window"},
                                {R"({"layer_types": ["full_attention"]})", "layer_types"},
                                {R"({"layer_types": "full_attention"})", "layer_types"},
                                {R"({"num_hidden_layers": 1, "layer_types": ["sliding_attention"]})", "layer_types"},
                                {R"({"num_hidden_layers": 1, "layer_types": ["linear_attention"]})", "layer_types"},
                                {R"({"num_hidden_layers": 1, "layer_types": [7]})", "layer_types"}});
}

TEST(ConfigRefusalTest, ADocumentThatIsNoObject) {
  expect_refusal(files_of(Json::array()), ErrorCode::bad_config, "config.json");
  expect_refusal(files_of(nullptr), ErrorCode::bad_config, "config.json");
}

// generation_config.json.

ModelFiles with_generation(const char* document) {
  ModelFiles files = files_of(qwen25_7b());
  files.generation_config = Json::parse(document);
  return files;
}

TEST(GenerationConfigTest, GivesDefaultsAndTheUnionOfEosIds) {
  const ModelConfig c = read_model_config(with_generation(R"({"bos_token_id": 151643, "pad_token_id": 151643,
      "do_sample": true, "eos_token_id": [151645, 151643], "repetition_penalty": 1.05, "temperature": 0.7,
      "top_p": 0.8, "top_k": 20, "transformers_version": "4.37.0"})"));
  EXPECT_THAT(c.eos_token_ids, ElementsAre(151645, 151643));
  EXPECT_FLOAT_EQ(c.default_temperature, 0.7f);
  EXPECT_FLOAT_EQ(c.default_top_p, 0.8f);
  EXPECT_FLOAT_EQ(c.default_repetition_penalty, 1.05f);
  EXPECT_EQ(c.default_top_k, 20);
}

TEST(GenerationConfigTest, WithoutSamplingIsGreedy) {
  EXPECT_EQ(read_model_config(with_generation(R"({"do_sample": false, "temperature": 0.7})")).default_temperature, 0);
}

TEST(GenerationConfigTest, RefusesValuesOutOfRangeNamingThem) {
  for (const Refusal& r : std::initializer_list<Refusal>{{R"({"temperature": -0.5})", "temperature"},
                                                         {R"({"temperature": "hot"})", "temperature"},
                                                         {R"({"top_p": 1.5})", "top_p"},
                                                         {R"({"top_k": -2})", "top_k"},
                                                         {R"({"repetition_penalty": 0})", "repetition_penalty"},
                                                         {R"({"eos_token_id": 4000000000})", "eos_token_id"},
                                                         {R"({"eos_token_id": "</s>"})", "eos_token_id"}}) {
    SCOPED_TRACE(r.changes);
    expect_refusal(with_generation(r.changes), ErrorCode::bad_config,
                   std::string("generation_config.json: ") + r.named);
  }
}

}  // namespace
}  // namespace qwin
