// SPDX-License-Identifier: Apache-2.0
// Tokens recognised in the text itself, before it is cut into pieces: <|im_end|>, <tool_call> and so on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/hash.h"

namespace qwin {

class AddedTokens {
 public:
  struct Match {
    size_t begin, end;
    int32_t id;
  };

  // Throws Error(bad_tokenizer) when `content` is empty, longer than kMaxContent or there already.
  void add(std::string_view content, int32_t id);

  // The next token at or after `begin`: the leftmost, of several there the longest.
  std::optional<Match> find_next(std::string_view text, size_t begin) const;
  // The id of the added token that is exactly `content`, or -1.
  int32_t find(std::string_view content) const;

  // Bounds the work at each position of a text; real ones are below 30 bytes.
  static constexpr size_t kMaxContent = 256;

 private:
  // A trie; node 0 is the root.
  static uint64_t edge(uint32_t node, char byte) {
    return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
  }

  struct EdgeHash {
    size_t operator()(uint64_t edge) const { return hashing::hash_u64(edge); }
  };

  std::unordered_map<uint64_t, uint32_t, EdgeHash> edges_;
  std::vector<int32_t> ids_{-1};  // by node
  bool starts_[256] = {};
};

}  // namespace qwin
