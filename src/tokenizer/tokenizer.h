// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back, id for id as the Hugging Face tokenizers library. Immutable: threads share one freely.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_files.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/byte_pair_encoder.h"
#include "tokenizer/tokenizer_spec.h"
#include "tokenizer/vocabulary.h"

namespace qwin {

struct TextSegment {
  std::string_view text;
  bool parse_special = false;  // added tokens may be recognised here
};

class Tokenizer {
 public:
  // From GGUF metadata, or from tokenizer.json and tokenizer_config.json. Throws Error(bad_tokenizer).
  static std::shared_ptr<const Tokenizer> load(const ModelFiles& files);
  explicit Tokenizer(const TokenizerSpec& spec);
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  std::vector<int32_t> encode(std::string_view text, bool parse_special) const;
  // As if the segments were one text, but added tokens are recognised only where they lie wholly in parse_special text.
  std::vector<int32_t> encode(std::span<const TextSegment> segments) const;

  // Bytes that are no UTF-8 become U+FFFD. Ids from num_ids() on have no text.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // The bytes of a token, for special tokens their content; empty for ids that are no token.
  std::string_view token_bytes(int32_t id) const;

  // Ids from here on are padding of the embedding.
  uint32_t num_ids() const { return vocabulary_.size(); }
  // A control token: never part of the text shown to users.
  bool is_special(int32_t id) const;
  // The id whose text is exactly `content`; an added token before a normal one.
  std::optional<int32_t> find_token(std::string_view content) const;
  // Every id that ends an answer, ascending.
  const std::vector<int32_t>& eos_ids() const { return eos_ids_; }
  std::optional<int32_t> bos_id() const { return bos_id_; }
  // Whether a prompt begins with bos_id() (encode() never adds it).
  bool add_bos() const { return add_bos_; }

 private:
  void encode_plain(std::string_view text, std::vector<int32_t>& ids, BytePairEncoder::Scratch& scratch) const;
  void collect_eos_ids(const TokenizerSpec& spec);

  Vocabulary vocabulary_;
  AddedTokens added_tokens_;
  std::vector<bool> is_special_;  // [num_ids]
  std::unique_ptr<const BytePairEncoder> encoder_;
  bool normalize_nfc_;
  bool add_bos_;
  std::optional<int32_t> bos_id_;
  std::vector<int32_t> eos_ids_;
};

}  // namespace qwin
