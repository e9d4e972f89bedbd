// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE: a piece of text -> token ids, merging the pair of lowest rank first, leftmost among equals. Immutable
// after construction but for a memo of atomics, so that threads share it freely.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace qwin {

// A merge by ids; its rank is its place in the list.
struct Merge {
  int32_t left, right, merged;
};

class BytePairEncoder {
 public:
  // Throws Error(bad_tokenizer) when one of the 256 bytes is no token or a pair is merged twice.
  BytePairEncoder(const Vocabulary& vocabulary, std::span<const Merge> merges);
  BytePairEncoder(const BytePairEncoder&) = delete;
  BytePairEncoder& operator=(const BytePairEncoder&) = delete;

  // Working memory of one caller; reuse spares allocations.
  struct Scratch {
    struct Symbol {
      int32_t id;
      uint32_t rank;  // of the merge with the next symbol
      uint32_t next, previous;
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> heap;  // rank << 32 | index of the left symbol
  };

  // Appends the ids of `piece`, which must not be empty. O(n log n) in its length.
  void encode(std::string_view piece, std::vector<int32_t>& ids, Scratch& scratch) const;

 private:
  static constexpr uint32_t kNoMerge = 0xFFFFFFFF;
  struct Slot {
    uint64_t pair = 0;
    uint32_t rank = kNoMerge;  // kNoMerge: empty
  };
  enum class Memo : uint8_t { unknown, whole, parts };

  void encode_by_merges(std::string_view piece, std::vector<int32_t>& ids, Scratch& scratch) const;
  void encode_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view piece, std::vector<int32_t>& ids, Scratch& scratch) const;
  void insert(uint64_t pair, uint32_t rank);
  uint32_t find_rank(int32_t left, int32_t right) const;
  uint32_t rank_of_bytes(char left, char right) const {
    return byte_pair_ranks_[static_cast<uint8_t>(left) << 8 | static_cast<uint8_t>(right)];
  }

  const uint64_t number_;  // tells encoders apart, even one built where another was
  const Vocabulary& vocabulary_;
  int32_t byte_ids_[256];
  std::vector<int32_t> merged_ids_;        // by rank
  std::vector<uint32_t> byte_pair_ranks_;  // [256 * 256]
  std::vector<Slot> slots_;                // a power of two, at most 5/8 full
  std::vector<uint64_t>
      may_merge_;  // a bit for 8 hashes a slot: most pairs never merge, and this is small enough to stay near
  size_t max_token_bytes_ = 0;
  // By token: do the merges lead from its bytes to the token itself? Filled as tokens come up.
  std::unique_ptr<std::atomic<Memo>[]> memo_;
};

}  // namespace qwin
