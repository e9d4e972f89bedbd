// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include "tokenizer_test_support.h"

namespace qwin {
namespace {

using testing::bad_tokenizer_message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A small, right tokenizer.json; tests break it.
Json small_document() {
  Json document = parse_json(testing::read_testdata("tokenizer.json"), "tokenizer.json", ErrorCode::io);
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[testing::spell(static_cast<char>(byte))] = byte;
  vocab["ab"] = 256;
  document["model"]["vocab"] = vocab;
  document["model"]["merges"] = Json::array({Json::array({"a", "b"})});
  document["added_tokens"] = {{{"id", 257}, {"content", "<|im_end|>"}, {"special", true}, {"normalized", false}},
                              {{"id", 258}, {"content", "<tool_call>"}, {"special", false}, {"normalized", false}}};
  return document;
}

std::shared_ptr<const Tokenizer> load(const Json& document, const Json& config = nullptr) {
  ModelFiles files;
  files.format = ModelFiles::Format::safetensors;
  files.tokenizer_json = document.dump();
  files.tokenizer_config = config;
  return Tokenizer::load(files);
}

std::string message_of(const std::function<void(Json&)>& change, const Json& config = nullptr) {
  Json document = small_document();
  change(document);
  return bad_tokenizer_message([&] { load(document, config); });
}

TEST(JsonTokenizerTest, ReadsBothSpellingsOfMerges) {
  Json document = small_document();
  EXPECT_THAT(load(document)->encode("ab<|im_end|>", true), ElementsAre(256, 257));
  document["model"]["merges"] = Json::array({"a b"});
  EXPECT_THAT(load(document)->encode("ab<tool_call>", true), ElementsAre(256, 258));
}

TEST(JsonTokenizerTest, NormalizesOnlyIfToldSo) {
  Json document = small_document();
  EXPECT_THAT(load(document)->encode("e\u0301", false), ElementsAre(0xC3, 0xA9));
  document["normalizer"] = nullptr;
  EXPECT_THAT(load(document)->encode("e\u0301", false), ElementsAre('e', 0xCC, 0x81));
}

TEST(JsonTokenizerTest, NamesTheComponentItDoesNotSupport) {
  EXPECT_THAT(message_of([](Json& d) { d["normalizer"] = {{"type", "NFKC"}}; }),
              HasSubstr("normalizer.type is 'NFKC'"));
  EXPECT_THAT(message_of([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+"; }),
              HasSubstr("pattern.Regex"));
  EXPECT_THAT(message_of([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }),
              HasSubstr("behavior"));
  EXPECT_THAT(message_of([](Json& d) { d["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }),
              HasSubstr("add_prefix_space"));
  EXPECT_THAT(message_of([](Json& d) { d["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true; }),
              HasSubstr("use_regex"));
  EXPECT_THAT(message_of([](Json& d) { d["pre_tokenizer"] = {{"type", "Metaspace"}}; }),
              HasSubstr("pre_tokenizer.type"));
  EXPECT_THAT(message_of([](Json& d) { d["decoder"] = {{"type", "WordPiece"}}; }), HasSubstr("decoder.type"));
  EXPECT_THAT(message_of([](Json& d) { d["model"]["type"] = "Unigram"; }), HasSubstr("model.type"));
  EXPECT_THAT(message_of([](Json& d) { d["model"]["byte_fallback"] = true; }), HasSubstr("byte_fallback"));
  EXPECT_THAT(message_of([](Json& d) { d["model"]["ignore_merges"] = true; }), HasSubstr("ignore_merges"));
  EXPECT_THAT(message_of([](Json& d) { d["model"]["dropout"] = 0.1; }), HasSubstr("dropout"));
  EXPECT_THAT(message_of([](Json& d) { d["model"]["unk_token"] = "a"; }), HasSubstr("unk_token"));
  EXPECT_THAT(message_of([](Json& d) { d["post_processor"] = {{"type", "BertProcessing"}}; }),
              HasSubstr("post_processor"));
  for (const char* flag : {"lstrip", "rstrip", "single_word", "normalized"}) {
    EXPECT_THAT(message_of([&](Json& d) { d["added_tokens"][1][flag] = true; }), HasSubstr(flag));
  }
}

TEST(JsonTokenizerTest, RefusesHostileVocabularies) {
  const auto with_token = [](const char* content, Json id) {
    return message_of([&](Json& d) { d["model"]["vocab"][content] = std::move(id); });
  };
  EXPECT_THAT(with_token("cd", 256), HasSubstr("both"));
  EXPECT_THAT(with_token("cd", -1), HasSubstr("no id"));
  EXPECT_THAT(with_token("cd", "x"), HasSubstr("no id"));
  EXPECT_THAT(with_token("cd", uint64_t{1} << 32), HasSubstr("no id"));
  EXPECT_THAT(with_token("cd", 1.5), HasSubstr("no id"));
  EXPECT_THAT(with_token("", 300), HasSubstr("empty"));
  EXPECT_THAT(with_token("<|im_end|>", 300), HasSubstr("same"));
  EXPECT_THAT(message_of([](Json& d) { d["model"]["vocab"].erase("z"); }), HasSubstr("no token for byte 122"));
  EXPECT_THAT(message_of([](Json& d) { d["model"]["vocab"] = {1, 2}; }), HasSubstr("model.vocab"));
  for (const Json& merge : {Json("ab"), Json("a b c"), Json::array({"a"}), Json::array({"a", 1}), Json(3),
                            Json::array({"a", "zz"}), Json("a b")}) {
    EXPECT_THAT(message_of([&](Json& d) { d["model"]["merges"].insert(d["model"]["merges"].end(), merge); }),
                HasSubstr("merge"))
        << merge;
  }
  EXPECT_THAT(message_of([](Json& d) { d["added_tokens"][0]["id"] = 97; }), HasSubstr("both"));
  EXPECT_THAT(message_of([](Json& d) { d["added_tokens"][0].erase("content"); }), HasSubstr("no content"));
  EXPECT_THAT(message_of([](Json& d) { d["added_tokens"][1]["content"] = "<|im_end|>"; }), HasSubstr("same"));
  EXPECT_THAT(message_of([](Json& d) { d["added_tokens"] = "x"; }), HasSubstr("added_tokens"));
  EXPECT_THAT(bad_tokenizer_message([] { load(Json::array()); }), HasSubstr("pre_tokenizer"));
}

TEST(JsonTokenizerTest, TheConfigurationNamesEndAndBeginTokens) {
  const auto tokenizer = load(small_document(), {{"eos_token", {{"content", "<tool_call>"}}},
                                                 {"bos_token", "<|im_end|>"},
                                                 {"add_bos_token", true},
                                                 {"chat_template", "{{ '<|im_end|>' }}"}});
  EXPECT_THAT(tokenizer->eos_ids(), ElementsAre(257, 258));
  EXPECT_EQ(tokenizer->bos_id(), 257);
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_THAT(message_of([](Json&) {}, {{"eos_token", "<none>"}}), HasSubstr("eos_token"));
  EXPECT_THAT(message_of([](Json&) {}, {{"add_bos_token", true}}), HasSubstr("bos_token"));
}

TEST(JsonTokenizerTest, TakesUpTheAddedTokensOfTheConfiguration) {
  const Json config = {{"added_tokens_decoder",
                        {{"259", {{"content", "<think>"}, {"special", false}}},
                         {"257", {{"content", "<|im_end|>"}, {"special", true}}}}}};
  const auto tokenizer = load(small_document(), config);
  EXPECT_THAT(tokenizer->encode("<think>", true), ElementsAre(259));
  EXPECT_TRUE(tokenizer->is_special(257));
  EXPECT_THAT(message_of([](Json&) {}, {{"added_tokens_decoder", {{"x", {{"content", "<think>"}}}}}}),
              HasSubstr("key"));
}

TEST(JsonTokenizerTest, APostProcessorMayPutOneTokenBeforeTheText) {
  const Json bos = {{"SpecialToken", {{"id", "<|im_end|>"}, {"type_id", 0}}}},
             text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  Json document = small_document();
  document["post_processor"] = {{"type", "TemplateProcessing"}, {"single", {bos, text}}};
  EXPECT_TRUE(load(document, {{"bos_token", "<|im_end|>"}})->add_bos());
  EXPECT_FALSE(load(document, {{"bos_token", "<|im_end|>"}, {"add_bos_token", false}})->add_bos());
  document["post_processor"]["single"] = {text, bos};
  EXPECT_THAT(bad_tokenizer_message([&] { load(document); }), HasSubstr("post_processor"));
}

TEST(JsonTokenizerTest, RefusesMoreIdsThanTheEmbeddingHasRows) {
  ModelFiles files;
  files.format = ModelFiles::Format::safetensors;
  files.tokenizer_json = small_document().dump();
  files.tensors.add({.name = "model.embed_tokens.weight", .dtype = DType::f32, .shape = {258, 8}, .data = {}});
  EXPECT_THAT(bad_tokenizer_message([&] { Tokenizer::load(files); }), HasSubstr("258 rows"));
  files.tokenizer_json.reset();
  EXPECT_THAT(bad_tokenizer_message([&] { Tokenizer::load(files); }), HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace qwin
