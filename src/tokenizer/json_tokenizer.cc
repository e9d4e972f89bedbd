// SPDX-License-Identifier: Apache-2.0
// tokenizer.json and tokenizer_config.json -> TokenizerSpec. Only what is implemented exactly is accepted: every
// component and every setting that would change an id is compared with the one known value, and refused by name when it
// differs.
#include "core/printable.h"
#include "qwin/error.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer_spec.h"

namespace qwin {
namespace {

[[noreturn]] void fail(const std::string& detail) {
  throw Error(ErrorCode::bad_tokenizer, "tokenizer.json: " + detail);
}

// The member, or null when it is absent or `object` is no object.
const Json& member(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

void expect(const Json& object, const char* key, const Json& wanted, const char* where) {
  const Json& value = member(object, key);
  if (value == wanted) return;
  std::string found = "something else";
  if (value.is_string()) {
    found = printable(value.get_ref<const std::string&>());
  } else if (value.is_primitive()) {
    found = value.is_null() ? "missing" : value.dump();
  }
  fail(std::string(where) + "." + key + " is " + found + "; supported is only " + wanted.dump());
}

// A setting that is off when it is absent, null, false, 0 or empty.
void expect_off(const Json& object, const char* key, const char* where) {
  const Json& value = member(object, key);
  const bool off =
      value.is_null() || value == Json(false) || value == Json("") || (value.is_number() && value == Json(0));
  if (!off) fail(std::string(where) + "." + key + " is set; it is not supported");
}

bool read_normalizer(const Json& document) {
  const Json& normalizer = member(document, "normalizer");
  if (normalizer.is_null()) return false;
  expect(normalizer, "type", "NFC", "normalizer");
  return true;
}

void check_pre_tokenizer(const Json& pre_tokenizer) {
  expect(pre_tokenizer, "type", "Sequence", "pre_tokenizer");
  const Json& steps = member(pre_tokenizer, "pretokenizers");
  if (!steps.is_array() || steps.size() != 2) fail("pre_tokenizer.pretokenizers is not [Split, ByteLevel]");
  expect(steps[0], "type", "Split", "pretokenizers[0]");
  expect(member(steps[0], "pattern"), "Regex", std::string(kQwen2Pattern), "pretokenizers[0].pattern");
  expect(steps[0], "behavior", "Isolated", "pretokenizers[0]");
  expect(steps[0], "invert", false, "pretokenizers[0]");
  expect(steps[1], "type", "ByteLevel", "pretokenizers[1]");
  expect(steps[1], "add_prefix_space", false, "pretokenizers[1]");
  expect(steps[1], "use_regex", false, "pretokenizers[1]");
}

// Puts a token at its id; an added token may stand where a normal one of the same spelling stands.
void place(TokenizerSpec& spec, const Json& id, std::string_view content, TokenKind kind) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxTokens)
    fail("token " + printable(content) + " has no id below 2^20");
  const auto index = static_cast<size_t>(id.get<uint64_t>());
  if (index >= spec.tokens.size()) spec.tokens.resize(index + 1);
  TokenSpec& token = spec.tokens[index];
  if (token.kind != TokenKind::unused && token.spelled != content) {
    fail("id " + std::to_string(index) + " is both " + printable(token.spelled) + " and " + printable(content));
  }
  token = {content, kind};
}

void read_model(const Json& model, TokenizerSpec& spec) {
  expect(model, "type", "BPE", "model");
  for (const char* key : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                          "byte_fallback", "ignore_merges"}) {
    expect_off(model, key, "model");
  }
  const Json& vocab = member(model, "vocab");
  if (!vocab.is_object() || vocab.size() > kMaxTokens) fail("model.vocab is no object of at most 2^20 tokens");
  spec.tokens.reserve(vocab.size() + 64);
  for (const auto& [content, id] : vocab.items()) place(spec, id, content, TokenKind::normal);

  const Json& merges = member(model, "merges");
  if (!merges.is_array()) fail("model.merges is no array");
  spec.merges.reserve(merges.size());
  for (const Json& merge : merges) {
    const auto bad = [&] {
      fail("merge " + std::to_string(spec.merges.size()) + " is neither \"a b\" nor [\"a\", \"b\"]");
    };
    if (merge.is_string()) {
      const std::string_view both = merge.get_ref<const std::string&>();
      const size_t space = both.find(' ');
      if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos) bad();
      spec.merges.emplace_back(both.substr(0, space), both.substr(space + 1));
    } else {
      if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) bad();
      spec.merges.emplace_back(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
    }
  }
}

// Markers that were not declared special are kept from users all the same: <|fim_prefix|>, DeepSeek's <｜User｜>.
bool looks_like_marker(std::string_view content) {
  return (content.starts_with("<|") && content.ends_with("|>")) ||
         (content.starts_with("<｜") && content.ends_with("｜>"));
}

void add_token(TokenizerSpec& spec, const Json& id, const Json& token) {
  const Json& content = member(token, "content");
  if (!content.is_string()) fail("an added token has no content");
  const std::string_view text = content.get_ref<const std::string&>();
  const std::string where = "added token " + printable(text);
  for (const char* key : {"single_word", "lstrip", "rstrip", "normalized"}) expect_off(token, key, where.c_str());
  const bool control = member(token, "special") == Json(true) || looks_like_marker(text);
  place(spec, id, text, control ? TokenKind::control : TokenKind::added);
}

void read_added_tokens(const Json& document, const Json& config, TokenizerSpec& spec) {
  const Json& added = member(document, "added_tokens");
  if (!added.is_null() && !added.is_array()) fail("added_tokens is no array");
  for (const Json& token : added) add_token(spec, member(token, "id"), token);
  // transformers adds these to what tokenizer.json holds.
  const Json& decoder = member(config, "added_tokens_decoder");
  if (!decoder.is_object()) return;
  for (const auto& [key, token] : decoder.items()) {
    if (key.empty() || key.size() > 7 || key.find_first_not_of("0123456789") != std::string::npos) {
      fail("tokenizer_config.json: added_tokens_decoder has the key " + printable(key));
    }
    add_token(spec, Json(static_cast<uint64_t>(std::stoul(key))), token);
  }
}

// The id of a token the configuration names, as a string or as an object with its content; null gives none.
std::optional<int32_t> named_token(const Json& config, const char* key, const TokenizerSpec& spec) {
  const Json& value = member(config, key);
  if (value.is_null()) return std::nullopt;
  const Json& content = value.is_object() ? member(value, "content") : value;
  if (content.is_string()) {
    const std::string_view text = content.get_ref<const std::string&>();
    for (size_t id = spec.tokens.size(); id-- > 0;) {  // special tokens are at the end
      if (spec.tokens[id].kind != TokenKind::unused && spec.tokens[id].spelled == text) return static_cast<int32_t>(id);
    }
  }
  fail(std::string("tokenizer_config.json: ") + key + " is no token of tokenizer.json");
}

// Whether the post-processor puts a token before the text. Anything else it could add is refused.
bool post_processor_adds_bos(const Json& processor) {
  if (processor.is_null()) return false;
  const Json& type = member(processor, "type");
  if (type == Json("ByteLevel")) return false;
  if (type == Json("Sequence")) {
    bool adds = false;
    const Json& steps = member(processor, "processors");
    if (!steps.is_array()) fail("post_processor.processors is no array");
    for (const Json& step : steps) {
      if (member(step, "type") == Json("Sequence")) fail("post_processor.Sequence within a Sequence is not supported");
      adds |= post_processor_adds_bos(step);
    }
    return adds;
  }
  expect(processor, "type", "TemplateProcessing", "post_processor");
  const Json& single = member(processor, "single");
  const size_t size = single.is_array() ? single.size() : 0;
  const bool plain = size == 1 && member(single[0], "Sequence").is_object();
  const bool with_bos =
      size == 2 && member(single[0], "SpecialToken").is_object() && member(single[1], "Sequence").is_object();
  if (!plain && !with_bos) fail("post_processor.TemplateProcessing adds other tokens than one before the text");
  return with_bos;
}

std::string_view chat_template_of(const ModelFiles& files) {
  if (files.chat_template) return *files.chat_template;
  const Json& value = member(files.tokenizer_config, "chat_template");
  if (value.is_string()) return value.get_ref<const std::string&>();
  if (!value.is_array()) return {};
  for (const Json& named : value) {
    const Json& text = member(named, "template");
    if (member(named, "name") == Json("default") && text.is_string()) return text.get_ref<const std::string&>();
  }
  return {};
}

}  // namespace

TokenizerSpec read_json_tokenizer(const ModelFiles& files, const Json& document) {
  TokenizerSpec spec;
  spec.normalize_nfc = read_normalizer(document);
  check_pre_tokenizer(member(document, "pre_tokenizer"));
  expect(member(document, "decoder"), "type", "ByteLevel", "decoder");
  read_model(member(document, "model"), spec);
  read_added_tokens(document, files.tokenizer_config, spec);

  spec.bos_id = named_token(files.tokenizer_config, "bos_token", spec);
  if (const auto eos = named_token(files.tokenizer_config, "eos_token", spec)) spec.eos_ids.push_back(*eos);
  const bool by_processor = post_processor_adds_bos(member(document, "post_processor"));
  const Json& add_bos = member(files.tokenizer_config, "add_bos_token");
  spec.add_bos = add_bos.is_boolean() ? add_bos.get<bool>() : by_processor;
  if (spec.add_bos && !spec.bos_id)
    fail("a token is to stand before the text, but tokenizer_config.json has no bos_token");
  spec.chat_template = chat_template_of(files);

  const TensorInfo* embedding = files.tensors.find("model.embed_tokens.weight");
  if (embedding != nullptr && !embedding->shape.empty() && embedding->shape[0] < spec.tokens.size()) {
    fail("there are " + std::to_string(spec.tokens.size()) + " ids, but only " + std::to_string(embedding->shape[0]) +
         " rows of model.embed_tokens.weight");
  }
  return spec;
}

}  // namespace qwin
