// SPDX-License-Identifier: Apache-2.0
// GGUF metadata -> TokenizerSpec. Keys: ggml's docs/gguf.md, section "Tokenizer".
#include <cstring>

#include "core/printable.h"
#include "qwin/error.h"
#include "tokenizer/tokenizer_spec.h"

namespace qwin {
namespace {

[[noreturn]] void fail(const std::string& detail) { throw Error(ErrorCode::bad_tokenizer, detail); }

const GgufValue& require(const ModelFiles& files, const char* key) {
  const GgufValue* value = files.gguf.find(key);
  if (value == nullptr) fail(std::string(key) + " is missing");
  return *value;
}

std::string_view require_string(const ModelFiles& files, const char* key) {
  const GgufValue& value = require(files, key);
  if (value.type != GgufType::string) fail(std::string(key) + " is no string");
  return value.s;
}

const std::vector<std::string_view>& require_strings(const ModelFiles& files, const char* key) {
  const GgufValue& value = require(files, key);
  if (value.type != GgufType::array || value.element_type != GgufType::string)
    fail(std::string(key) + " is no array of strings");
  return value.strings;
}

// An array of `count` four-byte numbers of one of the two types.
FileSpan require_words(const ModelFiles& files, const char* key, uint64_t count, GgufType type, GgufType other) {
  const GgufValue& value = require(files, key);
  if (value.type != GgufType::array || (value.element_type != type && value.element_type != other)) {
    fail(std::string(key) + " has another element type than it should");
  }
  if (value.count != count || value.elements.size() != count * 4) {
    fail(std::string(key) + " has " + std::to_string(value.count) + " entries for " + std::to_string(count) +
         " tokens");
  }
  return value.elements;
}

// "<0x0A>": a byte of a SentencePiece vocabulary, with no meaning in a byte-level one.
bool is_byte_fallback(std::string_view token) {
  return token.size() >= 5 && token.size() <= 8 && token.substr(0, 3) == "<0x" && token.back() == '>';
}

TokenKind token_kind(int32_t type, uint64_t id, std::string_view spelled) {
  if (is_byte_fallback(spelled))
    fail("token " + std::to_string(id) + " (" + printable(spelled) + ") is a byte token of another kind of vocabulary");
  switch (type) {
    case 1: return TokenKind::normal;
    case 3: return TokenKind::control;
    case 4: return TokenKind::added;
    case 5: return TokenKind::unused;
    default: fail("token " + std::to_string(id) + " is of type " + std::to_string(type) + "; known are 1, 3, 4 and 5");
  }
}

void read_tokens(const ModelFiles& files, TokenizerSpec& spec) {
  const auto& tokens = require_strings(files, "tokenizer.ggml.tokens");
  if (tokens.empty() || tokens.size() > kMaxTokens)
    fail("tokenizer.ggml.tokens has " + std::to_string(tokens.size()) + " entries");
  const FileSpan types = require_words(files, "tokenizer.ggml.token_type", tokens.size(), GgufType::i32, GgufType::u32);
  if (files.gguf.find("tokenizer.ggml.scores") != nullptr) {
    require_words(files, "tokenizer.ggml.scores", tokens.size(), GgufType::f32, GgufType::f32);
  }
  spec.tokens.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    int32_t type;
    std::memcpy(&type, types.data() + id * sizeof(type), sizeof(type));
    spec.tokens.push_back({tokens[id], token_kind(type, id, tokens[id])});
  }
  const TensorInfo* embedding = files.tensors.find("token_embd.weight");
  if (embedding != nullptr && (embedding->shape.size() != 2 || embedding->shape[0] != tokens.size())) {
    fail("tokenizer.ggml.tokens has " + std::to_string(tokens.size()) +
         " entries, token_embd.weight another number of rows");
  }
}

void read_merges(const ModelFiles& files, TokenizerSpec& spec) {
  const auto& merges = require_strings(files, "tokenizer.ggml.merges");
  spec.merges.reserve(merges.size());
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
      fail("merge " + std::to_string(spec.merges.size()) + " (" + printable(merge) + ") is not two parts and a space");
    }
    spec.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
}

int32_t checked_token_id(const TokenizerSpec& spec, uint64_t id, std::string_view what) {
  if (id >= spec.tokens.size()) {
    fail(printable(what) + " is " + std::to_string(id) + ", and there are " + std::to_string(spec.tokens.size()) +
         " tokens");
  }
  return static_cast<int32_t>(id);
}

// Every key that names a token must name one there is; a few of them end a text.
void read_special_ids(const ModelFiles& files, TokenizerSpec& spec) {
  constexpr std::string_view kPrefix = "tokenizer.ggml.", kSuffix = "_token_id";
  for (const auto& [key, value] : files.gguf.entries()) {
    if (!key.starts_with(kPrefix) || !key.ends_with(kSuffix) || key.size() <= kPrefix.size() + kSuffix.size()) continue;
    uint64_t number = value.u;
    switch (value.type) {
      case GgufType::u8:
      case GgufType::u16:
      case GgufType::u32:
      case GgufType::u64: break;
      case GgufType::i8:
      case GgufType::i16:
      case GgufType::i32:
      case GgufType::i64: number = static_cast<uint64_t>(value.i); break;  // a negative id is out of range as well
      default: fail(printable(key) + " is no integer");
    }
    const int32_t id = checked_token_id(spec, number, key);
    const std::string_view role = key.substr(kPrefix.size(), key.size() - kPrefix.size() - kSuffix.size());
    const bool ends = role == "eos" || role == "eot" || role == "eom";
    if ((ends || role == "bos") && spec.tokens[static_cast<size_t>(id)].kind == TokenKind::unused) {
      fail(printable(key) + " is " + std::to_string(id) + ", a padding token");
    }
    if (role == "bos") spec.bos_id = id;
    if (ends) spec.eos_ids.push_back(id);
  }
}

}  // namespace

TokenizerSpec read_gguf_tokenizer(const ModelFiles& files) {
  const std::string_view model = require_string(files, "tokenizer.ggml.model");
  if (model != "gpt2")
    fail("tokenizer.ggml.model is " + printable(model) + "; only gpt2 (byte-level BPE) is supported");
  // llama.cpp and transformers both give DeepSeek-R1-Distill-Qwen the pattern of Qwen2.
  const std::string_view pattern = require_string(files, "tokenizer.ggml.pre");
  if (pattern != "qwen2" && pattern != "deepseek-r1-qwen") {
    fail("tokenizer.ggml.pre is " + printable(pattern) + "; only qwen2 and deepseek-r1-qwen are supported");
  }
  TokenizerSpec spec;
  read_tokens(files, spec);
  read_merges(files, spec);
  read_special_ids(files, spec);
  if (const GgufValue* value = files.gguf.find("tokenizer.ggml.add_bos_token")) {
    if (value->type != GgufType::boolean) fail("tokenizer.ggml.add_bos_token is no boolean");
    spec.add_bos = value->u != 0;
  }
  if (spec.add_bos && !spec.bos_id) fail("tokenizer.ggml.add_bos_token is true, but there is no bos_token_id");
  const GgufValue* chat_template = files.gguf.find("tokenizer.chat_template");
  if (chat_template != nullptr && chat_template->type == GgufType::string) spec.chat_template = chat_template->s;
  return spec;
}

}  // namespace qwin
