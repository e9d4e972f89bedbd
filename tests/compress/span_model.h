// SPDX-License-Identifier: Apache-2.0
// A random model of two layers whose rows are whole spans of 128 columns, as those of every real one; its tokenizer is
// that of the tiny models.
#pragma once

#include <filesystem>
#include <random>
#include <string>

#include "core/json.h"
#include "io/io_test_support.h"
#include "io/model_files.h"

namespace qwin::testing {

class SpanModel {
 public:
  static constexpr size_t kHidden = 128, kInner = 256, kVocab = 320, kLayers = 2, kKv = 64;

  explicit SpanModel(bool is_tied = true) {
    const std::string source = std::string(QWIN_TESTDATA) + "/tiny/qwen2_tied/";
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
      std::filesystem::copy_file(source + name, folder_ / name);
    std::ifstream file(source + "config.json");
    Json config = Json::parse(file);
    config["hidden_size"] = kHidden, config["intermediate_size"] = kInner, config["tie_word_embeddings"] = is_tied;
    folder_.write("config.json", config.dump());
    add("model.embed_tokens.weight", {kVocab, kHidden});
    if (!is_tied) add("lm_head.weight", {kVocab, kHidden});
    add("model.norm.weight", {kHidden});
    for (size_t i = 0; i < kLayers; ++i) add_layer("model.layers." + std::to_string(i) + ".");
    const std::string header = header_.dump();
    const uint64_t size = header.size();
    folder_.write("model.safetensors", std::string(reinterpret_cast<const char*>(&size), 8) + header + data_);
  }

  const std::string& path() const { return folder_.path(); }
  std::string operator/(const std::string& name) const { return folder_ / name; }
  ModelFiles open() const { return open_model_files(path()); }

  // Some thousand tokens.
  static std::string text() {
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += "The answer " + std::to_string(i * i) + " is in the file: the weights make it, and keys are in pages. ";
    return text;
  }

 private:
  void add_layer(const std::string& prefix) {
    add(prefix + "input_layernorm.weight", {kHidden});
    add(prefix + "post_attention_layernorm.weight", {kHidden});
    for (const auto& [name, rows] : {std::pair{"q", kHidden}, {"k", kKv}, {"v", kKv}}) {
      add(prefix + "self_attn." + name + "_proj.weight", {rows, kHidden});
      add(prefix + "self_attn." + name + "_proj.bias", {rows});
    }
    add(prefix + "self_attn.o_proj.weight", {kHidden, kHidden});
    add(prefix + "mlp.gate_proj.weight", {kInner, kHidden});
    add(prefix + "mlp.up_proj.weight", {kInner, kHidden});
    add(prefix + "mlp.down_proj.weight", {kHidden, kInner});
  }

  void add(const std::string& name, const std::vector<size_t>& shape) {
    const bool is_norm = name.ends_with("norm.weight");
    std::normal_distribution<float> normal(is_norm ? 1.0f : 0.0f, is_norm ? 0.1f : 0.08f);
    size_t count = 1;
    for (const size_t extent : shape) count *= extent;
    const size_t begin = data_.size();
    for (size_t i = 0; i < count; ++i) {
      const float value = normal(random_);
      data_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    header_[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
  }

  TemporaryFolder folder_;
  std::mt19937 random_{7};
  Json header_;
  std::string data_;
};

}  // namespace qwin::testing
