// SPDX-License-Identifier: Apache-2.0
// A small vocabulary to build right and wrong tokenizers from, and the files of tests/testdata/tokenizer.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "io/model_files.h"
#include "qwin/error.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace qwin::testing {

inline std::string read_testdata(const std::string& name) {
  std::ifstream file(std::string(QWIN_TESTDATA "/tokenizer/") + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The cut-down Qwen2.5 tokenizer of the test data, by way of tokenizer.json or of GGUF.
inline std::shared_ptr<const Tokenizer> load_json_testdata() {
  ModelFiles files;
  files.format = ModelFiles::Format::safetensors;
  files.tokenizer_json = read_testdata("tokenizer.json");
  return Tokenizer::load(files);
}
inline std::shared_ptr<const Tokenizer> load_gguf_testdata() {
  return Tokenizer::load(open_model_files(QWIN_TESTDATA "/tokenizer/vocab.gguf"));
}

// GPT-2's spelling of a byte.
inline std::string spell(char byte) {
  std::string spelled, bytes;
  for (uint32_t c = 33; c < 324; ++c) {
    spelled.clear();
    unicode::append_utf8(spelled, c);
    if (decode_byte_level(spelled, bytes) && bytes[0] == byte) break;
  }
  return spelled;
}

// GGUF metadata of a vocabulary: the bytes in order (ids 0-255), then what a test adds.
struct GgufVocabulary {
  static constexpr int32_t kNormal = 1, kControl = 3, kAdded = 4, kUnused = 5, kByte = 6;

  std::vector<std::string> tokens;
  std::vector<int32_t> types = std::vector<int32_t>(256, kNormal);
  std::vector<std::string> merges;
  std::map<std::string, GgufValue, std::less<>> other;  // replaces what build() would put there

  GgufVocabulary() {
    for (int byte = 0; byte < 256; ++byte) tokens.push_back(spell(static_cast<char>(byte)));
    other["tokenizer.ggml.model"] = text("gpt2");
    other["tokenizer.ggml.pre"] = text("qwen2");
  }
  int32_t add(const std::string& token, int32_t type = kNormal) {
    tokens.push_back(token);
    types.push_back(type);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  // A merge together with the token it makes.
  int32_t add_merge(const std::string& left, const std::string& right) {
    merges.push_back(left + " " + right);
    return add(left + right);
  }

  static GgufValue text(std::string_view s) {
    GgufValue value;
    value.type = GgufType::string;
    value.s = s;
    return value;
  }
  static GgufValue number(uint64_t u) {
    GgufValue value;
    value.type = GgufType::u32;
    value.u = u;
    return value;
  }
  static GgufValue boolean(bool b) {
    GgufValue value;
    value.type = GgufType::boolean;
    value.u = b;
    return value;
  }
  static GgufValue strings(const std::vector<std::string>& items) {
    GgufValue value;
    value.type = GgufType::array;
    value.element_type = GgufType::string;
    value.count = items.size();
    value.strings.assign(items.begin(), items.end());
    return value;
  }
  template <typename T>
  static GgufValue words(const std::vector<T>& items, GgufType type) {
    GgufValue value;
    value.type = GgufType::array;
    value.element_type = type;
    value.count = items.size();
    value.elements = FileSpan::of_memory(items.data(), items.size() * sizeof(T));
    return value;
  }

  // The result's views live as long as this object.
  ModelFiles build() const {
    auto values = other;
    values.try_emplace("tokenizer.ggml.tokens", strings(tokens));
    values.try_emplace("tokenizer.ggml.token_type", words(types, GgufType::i32));
    values.try_emplace("tokenizer.ggml.merges", strings(merges));
    ModelFiles files;
    for (const auto& [key, value] : values)
      files.gguf.add(other.count(key) ? other.find(key)->first : keep(key), value);
    return files;
  }
  std::shared_ptr<const Tokenizer> load() const { return Tokenizer::load(build()); }

 private:
  static std::string_view keep(const std::string& key) {
    for (const char* known : {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"}) {
      if (key == known) return known;
    }
    return {};
  }
};

// The message of the Error(bad_tokenizer) that `action` throws; anything else fails the test.
template <typename Action>
std::string bad_tokenizer_message(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_tokenizer) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace qwin::testing
