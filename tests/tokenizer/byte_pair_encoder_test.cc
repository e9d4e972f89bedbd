// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_pair_encoder.h"

#include <algorithm>
#include <map>
#include <random>

#include "tokenizer_test_support.h"

namespace qwin {
namespace {

using Ids = std::vector<int32_t>;

// A vocabulary of the 256 bytes and random merges over few letters: many ways to make the same token, most tokens never
// reached.
struct RandomMerges {
  Vocabulary vocabulary;
  std::vector<Merge> merges;
  std::map<std::pair<int32_t, int32_t>, int32_t> rank_of;

  explicit RandomMerges(uint32_t seed) {
    std::mt19937 random(seed);
    for (int byte = 0; byte < 256; ++byte) vocabulary.add(std::string(1, static_cast<char>(byte)), true);
    Ids parts = {'a', 'b', 'c'};
    for (int i = 0; i < 60; ++i) {
      const int32_t left = parts[random() % parts.size()], right = parts[random() % parts.size()];
      if (rank_of.count({left, right}) > 0) continue;
      const std::string bytes = std::string(vocabulary.bytes(left)) + std::string(vocabulary.bytes(right));
      int32_t merged = vocabulary.find(bytes);
      if (merged < 0) {
        merged = static_cast<int32_t>(vocabulary.size());
        vocabulary.add(bytes, true);
        parts.push_back(merged);
      }
      rank_of[{left, right}] = static_cast<int32_t>(merges.size());
      merges.push_back({left, right, merged});
    }
  }

  // The definition: merge the leftmost pair of the lowest rank until there is none.
  Ids encode_slowly(std::string_view piece) const {
    Ids ids;
    for (const char c : piece) ids.push_back(static_cast<uint8_t>(c));
    for (;;) {
      int32_t best_rank = INT32_MAX;
      size_t best = 0;
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        const auto it = rank_of.find({ids[i], ids[i + 1]});
        if (it != rank_of.end() && it->second < best_rank) best_rank = it->second, best = i;
      }
      if (best_rank == INT32_MAX) return ids;
      ids[best] = merges[static_cast<size_t>(best_rank)].merged;
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
  }
};

TEST(BytePairEncoderTest, EveryLengthFollowsTheDefinition) {
  for (uint32_t seed = 0; seed < 30; ++seed) {
    const RandomMerges model(seed);
    const BytePairEncoder encoder(model.vocabulary, model.merges);
    BytePairEncoder::Scratch scratch;
    std::mt19937 random(seed);
    for (int run = 0; run < 300; ++run) {
      std::string piece(1 + random() % (run % 10 == 0 ? 150 : 20), 'a');
      for (char& c : piece) c = "aaabbcd"[random() % 7];
      Ids ids = {-7};  // what is there stays
      encoder.encode(piece, ids, scratch);
      ASSERT_EQ(ids[0], -7);
      ids.erase(ids.begin());
      ASSERT_EQ(ids, model.encode_slowly(piece)) << piece;
      Ids again;
      encoder.encode(piece, again, scratch);  // now from the caches
      ASSERT_EQ(again, ids) << piece;
    }
  }
}

TEST(BytePairEncoderTest, AWholeTokenThatMergesDoNotReachIsNotUsed) {
  testing::GgufVocabulary vocabulary;
  vocabulary.add_merge("b", "c");
  const int32_t ab = vocabulary.add_merge("a", "b");
  vocabulary.add("abcd");
  vocabulary.add("bcd");
  EXPECT_EQ(vocabulary.load()->encode("abcd", false), (Ids{'a', 256, 'd'}));
  EXPECT_EQ(vocabulary.load()->encode("ab", false), Ids{ab});
}

}  // namespace
}  // namespace qwin
