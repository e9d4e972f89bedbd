// SPDX-License-Identifier: Apache-2.0
// How much each token of the vocabulary matters in a text: what an error in its row of the embedding and of the head
// costs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qwin {

class VocabularyUse {
 public:
  explicit VocabularyUse(size_t vocab_size);

  // A piece of text: its ids, and the logits after each of them. An error of a row of the embedding counts when its
  // token is read. One of a row of the head moves the KL divergence by half its square times p (1 - p), whether the
  // token comes or not: so a text of some thousand tokens tells of many more tokens than it has.
  void begin_piece() { half_ = 1 - half_; }
  void add_token(int32_t id) { uses_[half_][static_cast<size_t>(id)] += 1; }
  void add_logits(std::span<const float> logits);

  // The n ids that matter most, ascending. Requires: n <= vocab_size.
  std::vector<int32_t> most_used(size_t n) const;
  // The share of all use that the n most used ids of one half of the pieces have in the other: what to expect of
  // most_used(n) in another text. 0 before there are two pieces.
  double expected_share(size_t n) const;

 private:
  std::vector<float> uses_[2];  // of even and odd pieces, [vocab_size] each
  int half_ = 1;
};

}  // namespace qwin
