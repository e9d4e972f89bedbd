// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "model/config.h"

namespace qwin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelFiles open_tiny(const std::string& name) { return open_model_files(QWIN_TESTDATA "/tiny/" + name); }

// The same files with every tensor passed through `change`; false drops it.
ModelFiles changed(ModelFiles files, const std::function<bool(TensorInfo&)>& change) {
  TensorTable table;
  for (TensorInfo tensor : files.tensors.tensors()) {
    if (change(tensor)) table.add(std::move(tensor));
  }
  files.tensors = std::move(table);
  return files;
}

ModelFiles with_extra(ModelFiles files, const std::string& name) {
  TensorInfo tensor;
  tensor.name = name;
  tensor.shape = {8};
  files.tensors.add(tensor);
  return files;
}

void expect_error(const ModelFiles& files, ErrorCode code, const std::string& named) {
  try {
    check_tensors(read_model_config(files), files);
    ADD_FAILURE() << "accepted; expected an error naming " << named;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(named));
  }
}

TEST(CheckpointNamesTest, MapsEveryNameToGguf) {
  EXPECT_EQ(gguf_tensor_name("model.embed_tokens.weight"), "token_embd.weight");
  EXPECT_EQ(gguf_tensor_name("model.norm.weight"), "output_norm.weight");
  EXPECT_EQ(gguf_tensor_name("lm_head.weight"), "output.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.0.input_layernorm.weight"), "blk.0.attn_norm.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.12.self_attn.q_proj.bias"), "blk.12.attn_q.bias");
  EXPECT_EQ(gguf_tensor_name("model.layers.7.self_attn.k_norm.weight"), "blk.7.attn_k_norm.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.79.self_attn.o_proj.weight"), "blk.79.attn_output.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.3.post_attention_layernorm.weight"), "blk.3.ffn_norm.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.3.mlp.down_proj.weight"), "blk.3.ffn_down.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.3.mlp.router.weight"), "");
  EXPECT_EQ(gguf_tensor_name("model.layers.x.mlp.down_proj.weight"), "");
  EXPECT_EQ(gguf_tensor_name("model.layers."), "");
  EXPECT_EQ(gguf_tensor_name("blk.3.ffn_down.weight"), "");
}

TEST(CheckTensorsTest, EveryTinyModelIsComplete) {
  for (const char* name : {"qwen2_tied", "qwen2_tied_gguf_f32/model.gguf", "qwen2_tied_gguf_q8_0/model.gguf",
                           "qwen2_untied_bf16", "qwen2_windowed", "qwen2_yarn", "qwen3", "qwen2_sharded_f16"}) {
    SCOPED_TRACE(name);
    const ModelFiles files = open_tiny(name);
    EXPECT_THAT(check_tensors(read_model_config(files), files), ElementsAre());
  }
}

TEST(CheckTensorsTest, TinyConfigurationsAreAsMade) {
  EXPECT_TRUE(read_model_config(open_tiny("qwen2_tied")).tie_word_embeddings);
  EXPECT_FALSE(read_model_config(open_tiny("qwen2_untied_bf16")).tie_word_embeddings);
  EXPECT_THAT(read_model_config(open_tiny("qwen2_windowed")).layer_window, ElementsAre(0, 16, 16));
  EXPECT_EQ(read_model_config(open_tiny("qwen2_yarn")).yarn.factor, 4.0);
  EXPECT_EQ(read_model_config(open_tiny("qwen3")).head_dim, 32u);
}

TEST(CheckTensorsTest, NamesTheMissingTensorAsTheFileWould) {
  const ModelFiles whole = open_tiny("qwen3");
  for (const TensorInfo& gone : whole.tensors.tensors()) {
    expect_error(changed(open_tiny("qwen3"), [&](TensorInfo& t) { return t.name != gone.name; }),
                 ErrorCode::missing_tensor, gone.name);
  }
  expect_error(changed(open_tiny("qwen2_tied_gguf_q8_0/model.gguf"),
                       [](TensorInfo& t) { return t.name != "blk.1.attn_v.bias"; }),
               ErrorCode::missing_tensor, "blk.1.attn_v.bias");
  expect_error(changed(open_tiny("qwen2_untied_bf16"), [](TensorInfo& t) { return t.name != "lm_head.weight"; }),
               ErrorCode::missing_tensor, "lm_head.weight");
}

TEST(CheckTensorsTest, NamesTheTensorOfAnotherShape) {
  const ModelFiles whole = open_tiny("qwen2_untied_bf16");
  for (const TensorInfo& bent : whole.tensors.tensors()) {
    const auto files = changed(open_tiny("qwen2_untied_bf16"), [&](TensorInfo& t) {
      if (t.name == bent.name) t.shape.back() += 1;
      return true;
    });
    expect_error(files, ErrorCode::bad_shape, bent.name);
  }
}

TEST(CheckTensorsTest, RefusesATransposedMatrixAndAnotherRank) {
  auto bend = [](std::vector<uint64_t> shape) {
    return changed(open_tiny("qwen2_tied"), [shape](TensorInfo& t) {
      if (t.name == "model.layers.0.mlp.up_proj.weight") t.shape = shape;
      return true;
    });
  };
  EXPECT_NO_THROW(check_tensors(read_model_config(bend({96, 64})), bend({96, 64})));
  expect_error(bend({64, 96}), ErrorCode::bad_shape, "[64, 96], the configuration asks for [96, 64]");
  expect_error(bend({96, 64, 1}), ErrorCode::bad_shape, "up_proj");
  expect_error(bend({96 * 64}), ErrorCode::bad_shape, "up_proj");
  expect_error(bend({}), ErrorCode::bad_shape, "up_proj");
}

TEST(CheckTensorsTest, ExtraTensorsAreReportedUnlessTheyAreKnownBuffers) {
  ModelFiles files = with_extra(open_tiny("qwen2_tied"), "model.layers.0.self_attn.rotary_emb.inv_freq");
  files = with_extra(with_extra(files, "v_head.summary.weight"), "model.layers.2.mlp.up_proj.weight");
  const auto extra = check_tensors(read_model_config(files), files);
  ASSERT_EQ(extra.size(), 2u);
  EXPECT_THAT(extra[0], HasSubstr("v_head.summary.weight"));
  EXPECT_THAT(extra[1], HasSubstr("model.layers.2.mlp.up_proj.weight"));  // a layer beyond the last
}

TEST(CheckTensorsTest, RefusesPartsThatAModelOfTheFamilyWouldApply) {
  for (const char* name : {"model.layers.0.self_attn.o_proj.bias", "model.layers.1.self_attn.q_norm.weight"}) {
    expect_error(with_extra(open_tiny("qwen2_tied"), name), ErrorCode::bad_config, name);
  }
  expect_error(with_extra(open_tiny("qwen3"), "model.layers.0.self_attn.k_proj.bias"), ErrorCode::bad_config, "k_proj");
  expect_error(with_extra(open_tiny("qwen2_tied_gguf_f32/model.gguf"), "rope_freqs.weight"), ErrorCode::bad_config,
               "rope_freqs");
}

TEST(CheckTensorsTest, AHeadOfTheFilesOwnIsUsedAlthoughTheConfigTiesIt) {
  ModelFiles files = open_tiny("qwen2_tied");
  TensorInfo head = *find_tensor(files, "model.embed_tokens.weight");
  head.name = "lm_head.weight";
  files.tensors.add(head);
  const ModelConfig config = read_model_config(files);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_THAT(check_tensors(config, files), ElementsAre());
}

}  // namespace
}  // namespace qwin
