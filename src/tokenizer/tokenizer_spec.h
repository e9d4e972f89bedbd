// SPDX-License-Identifier: Apache-2.0
// What both file formats say about a tokenizer, in one form: the loaders fill it, Tokenizer is built from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_files.h"

namespace qwin {

// Beyond any real vocabulary (Qwen: 151,936).
inline constexpr uint64_t kMaxTokens = uint64_t{1} << 20;

enum class TokenKind : uint8_t {
  unused,   // a padding row of the embedding
  normal,   // spelled in the byte-level alphabet, made by merges
  added,    // recognised in the text, shown to users: <tool_call>
  control,  // recognised in the text, never shown: <|im_end|>
};

struct TokenSpec {
  std::string_view spelled;
  TokenKind kind = TokenKind::unused;
};

struct TokenizerSpec {
  std::vector<TokenSpec> tokens;                                      // by id
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // by rank; both spelled as tokens are
  bool normalize_nfc = true;
  bool add_bos = false;
  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;    // as the files name them; may hold an id twice
  std::string_view chat_template;  // only to see which end-of-turn token it uses
};

// Each throws Error(bad_tokenizer). The views of the result live as long as `files` (and `document`).
TokenizerSpec read_gguf_tokenizer(const ModelFiles& files);
TokenizerSpec read_json_tokenizer(const ModelFiles& files, const Json& document);

}  // namespace qwin
