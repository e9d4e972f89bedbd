// SPDX-License-Identifier: Apache-2.0
// The tokens as bytes, both ways: id -> bytes, and bytes -> id by an open-addressing hash. Immutable once built.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qwin {

// Real vocabularies are below 4 MiB.
inline constexpr size_t kMaxVocabularyBytes = size_t{256} << 20;

// GPT-2's spelling of bytes as printable characters -> bytes. False when `spelled` has a character outside that
// alphabet; such a token stands for itself, as in the Hugging Face decoder.
bool decode_byte_level(std::string_view spelled, std::string& bytes);

class Vocabulary {
 public:
  // Appends the token of the next id. Tokens not `findable` (padding, added tokens) are not looked up by find().
  // Throws Error(bad_tokenizer) when another findable token has the same bytes.
  void add(std::string_view bytes, bool findable);
  void reserve(size_t num_tokens, size_t num_bytes);

  uint32_t size() const { return static_cast<uint32_t>(ends_.size()); }
  std::string_view bytes(uint32_t id) const {
    const uint32_t begin = id == 0 ? 0 : ends_[id - 1];
    return std::string_view(text_).substr(begin, ends_[id] - begin);
  }
  // The id, or -1.
  int32_t find(std::string_view bytes) const;

 private:
  void grow(size_t num_slots);
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };

  std::string text_;
  std::vector<uint32_t> ends_;  // of each token in text_
  std::vector<Slot> slots_;     // a power of two, at most half full
  size_t num_findable_ = 0;
};

}  // namespace qwin
