// SPDX-License-Identifier: Apache-2.0
#include "tokenizer_test_support.h"

namespace qwin {
namespace {

using testing::bad_tokenizer_message;
using testing::GgufVocabulary;
using ::testing::HasSubstr;

std::string message_of(const GgufVocabulary& vocabulary) {
  return bad_tokenizer_message([&] { vocabulary.load(); });
}

// One array under `key` instead of the right one.
std::string message_with(const std::string& key, const GgufValue& value) {
  GgufVocabulary vocabulary;
  vocabulary.other["tokenizer.ggml." + key] = value;
  return message_of(vocabulary);
}

TEST(GgufTokenizerTest, RefusesOtherKindsOfTokenizers) {
  EXPECT_THAT(message_with("model", GgufVocabulary::text("llama")), HasSubstr("llama"));
  EXPECT_THAT(message_with("pre", GgufVocabulary::text("llama-bpe")), HasSubstr("llama-bpe"));
  EXPECT_THAT(message_with("pre", GgufVocabulary::number(1)), HasSubstr("tokenizer.ggml.pre"));
  EXPECT_THAT(bad_tokenizer_message([] { Tokenizer::load(ModelFiles()); }),
              HasSubstr("tokenizer.ggml.model is missing"));
}

TEST(GgufTokenizerTest, AcceptsTheDeepSeekDistillName) {
  GgufVocabulary vocabulary;
  vocabulary.other["tokenizer.ggml.pre"] = GgufVocabulary::text("deepseek-r1-qwen");
  EXPECT_EQ(vocabulary.load()->num_ids(), 256u);
}

TEST(GgufTokenizerTest, RefusesArraysOfWrongTypesAndLengths) {
  const std::vector<uint8_t> bytes(256, 1);
  const std::vector<int32_t> short_types(255, 1);
  const std::vector<float> scores(3);
  EXPECT_THAT(message_with("token_type", GgufVocabulary::words(bytes, GgufType::u8)), HasSubstr("token_type"));
  EXPECT_THAT(message_with("token_type", GgufVocabulary::words(short_types, GgufType::i32)), HasSubstr("255 entries"));
  EXPECT_THAT(message_with("scores", GgufVocabulary::words(bytes, GgufType::u8)), HasSubstr("scores"));
  EXPECT_THAT(message_with("scores", GgufVocabulary::words(scores, GgufType::f32)), HasSubstr("scores"));
  EXPECT_THAT(message_with("tokens", GgufVocabulary::words(bytes, GgufType::u8)), HasSubstr("tokens"));
  EXPECT_THAT(message_with("tokens", GgufVocabulary::strings({})), HasSubstr("tokens"));
  EXPECT_THAT(message_with("merges", GgufVocabulary::words(bytes, GgufType::u8)), HasSubstr("merges"));
  EXPECT_THAT(message_with("merges", GgufVocabulary::number(3)), HasSubstr("merges"));
}

TEST(GgufTokenizerTest, RefusesTokensThatAreThereTwice) {
  GgufVocabulary twice_normal;
  twice_normal.add("a");
  EXPECT_THAT(message_of(twice_normal), HasSubstr("97 and 256 are the same"));
  GgufVocabulary twice_added;
  twice_added.add("<x>", GgufVocabulary::kAdded);
  twice_added.add("<x>", GgufVocabulary::kControl);
  EXPECT_THAT(message_of(twice_added), HasSubstr("same"));
  GgufVocabulary both;
  both.add("a", GgufVocabulary::kAdded);
  EXPECT_THAT(message_of(both), HasSubstr("same"));
}

TEST(GgufTokenizerTest, RefusesTokensWithoutMeaning) {
  for (const char* token : {"<0x-1>", "<0xZZ>", "<0x0A>"}) {
    GgufVocabulary vocabulary;
    vocabulary.add(token);
    EXPECT_THAT(message_of(vocabulary), HasSubstr("byte token")) << token;
  }
  for (const int32_t type : {0, 2, GgufVocabulary::kByte, 7, -1}) {
    GgufVocabulary vocabulary;
    vocabulary.add("x1", type);
    EXPECT_THAT(message_of(vocabulary), HasSubstr("type " + std::to_string(type)));
  }
  GgufVocabulary empty;
  empty.add("");
  EXPECT_THAT(message_of(empty), HasSubstr("empty"));
  GgufVocabulary long_added;
  long_added.add(std::string(257, 'x'), GgufVocabulary::kAdded);
  EXPECT_THAT(message_of(long_added), HasSubstr("256 bytes"));
}

TEST(GgufTokenizerTest, RefusesAVocabularyWithoutAByte) {
  GgufVocabulary vocabulary;
  vocabulary.tokens[10] = "xyz";
  EXPECT_THAT(message_of(vocabulary), HasSubstr("no token for byte 10"));
}

TEST(GgufTokenizerTest, RefusesMergesThatMakeNoSense) {
  for (const char* merge : {"ab", "a b c", " ", "", "a ", " b", "a b", "zz a", "a zz", "\xE4\xB8\xAD a"}) {
    GgufVocabulary vocabulary;
    vocabulary.merges.push_back(merge);
    EXPECT_THAT(message_of(vocabulary), HasSubstr("merge 0")) << merge;
  }
  GgufVocabulary twice;
  twice.add_merge("a", "b");
  twice.merges.push_back("a b");
  EXPECT_THAT(message_of(twice), HasSubstr("same pair"));
}

TEST(GgufTokenizerTest, RefusesIdsBeyondTheTokens) {
  for (const char* role : {"eos", "bos", "eot", "padding", "unknown", "fim_pre"}) {
    EXPECT_THAT(message_with(role + std::string("_token_id"), GgufVocabulary::number(uint64_t{1} << 31)),
                HasSubstr(role));
    EXPECT_THAT(message_with(role + std::string("_token_id"), GgufVocabulary::number(256)), HasSubstr(role));
    EXPECT_THAT(message_with(role + std::string("_token_id"), GgufVocabulary::text("x")), HasSubstr(role));
  }
  GgufValue negative;
  negative.type = GgufType::i32;
  negative.i = -1;
  EXPECT_THAT(message_with("eos_token_id", negative), HasSubstr("eos"));
  EXPECT_THAT(message_with("add_bos_token", GgufVocabulary::boolean(true)), HasSubstr("bos_token_id"));
  EXPECT_THAT(message_with("add_bos_token", GgufVocabulary::number(1)), HasSubstr("boolean"));
  GgufVocabulary padding;
  padding.other["tokenizer.ggml.eos_token_id"] =
      GgufVocabulary::number(static_cast<uint64_t>(padding.add("[PAD]", GgufVocabulary::kUnused)));
  EXPECT_THAT(message_of(padding), HasSubstr("padding"));
}

TEST(GgufTokenizerTest, RefusesAnEmbeddingOfOtherLength) {
  GgufVocabulary vocabulary;
  ModelFiles files = vocabulary.build();
  files.tensors.add({.name = "token_embd.weight", .dtype = DType::f32, .shape = {255, 8}, .data = {}});
  EXPECT_THAT(bad_tokenizer_message([&] { Tokenizer::load(files); }), HasSubstr("token_embd.weight"));
}

}  // namespace
}  // namespace qwin
