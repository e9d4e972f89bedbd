// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/added_tokens.h"

#include "qwin/error.h"

namespace qwin {

void AddedTokens::add(std::string_view content, int32_t id) {
  const auto fail = [&](const char* why) {
    throw Error(ErrorCode::bad_tokenizer, "added token " + std::to_string(id) + " is " + why);
  };
  if (content.empty()) fail("empty");
  if (content.size() > kMaxContent) fail("longer than 256 bytes");
  uint32_t node = 0;
  for (const char byte : content) {
    const auto [it, is_new] = edges_.try_emplace(edge(node, byte), static_cast<uint32_t>(ids_.size()));
    if (is_new) ids_.push_back(-1);
    node = it->second;
  }
  if (ids_[node] >= 0) fail(("the same as " + std::to_string(ids_[node])).c_str());
  ids_[node] = id;
  starts_[static_cast<uint8_t>(content[0])] = true;
}

std::optional<AddedTokens::Match> AddedTokens::find_next(std::string_view text, size_t begin) const {
  for (size_t start = begin; start < text.size(); ++start) {
    if (!starts_[static_cast<uint8_t>(text[start])]) continue;
    std::optional<Match> longest;
    uint32_t node = 0;
    for (size_t i = start; i < text.size(); ++i) {
      const auto it = edges_.find(edge(node, text[i]));
      if (it == edges_.end()) break;
      node = it->second;
      if (ids_[node] >= 0) longest = Match{start, i + 1, ids_[node]};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

int32_t AddedTokens::find(std::string_view content) const {
  const auto match = find_next(content.substr(0, kMaxContent + 1), 0);
  return match && match->begin == 0 && match->end == content.size() ? match->id : -1;
}

}  // namespace qwin
