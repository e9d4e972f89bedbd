// SPDX-License-Identifier: Apache-2.0
// The ids of short pieces met lately: a small direct-mapped table that stays in a core's own cache, where the
// vocabulary does not. Belongs to one thread; it only ever repeats what the encoder said, so results do not depend on
// it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/hash.h"

namespace qwin {

class PieceCache {
 public:
  static constexpr size_t kMaxBytes = 16;
  static constexpr size_t kMaxIds = 3;

  struct Entry {
    uint64_t first = 0, last = 0;  // with num_bytes they hold the whole piece
    uint8_t num_bytes = 0;         // 0: empty
    uint8_t num_ids = 0;
    std::array<int32_t, kMaxIds> ids = {};
  };

  // Forgets everything when another encoder than `owner` filled it.
  void use_for(uint64_t owner) {
    if (owner == owner_) return;
    entries_.assign(kNumEntries, Entry());
    owner_ = owner;
  }

  // The only place where `piece` may be; `hit` tells whether it is there. If not, it is once the caller has set
  // num_bytes and the ids. Requires: 1 to kMaxBytes bytes.
  Entry& find(std::string_view piece, bool* hit) {
    const auto num_bytes = static_cast<uint8_t>(piece.size());
    uint64_t first, last = 0;
    if (piece.size() >= 8) {
      first = hashing::load<uint64_t>(piece.data());
      last = hashing::load<uint64_t>(piece.data() + piece.size() - 8);
    } else if (piece.size() >= 4) {
      first = hashing::load<uint32_t>(piece.data());
      last = hashing::load<uint32_t>(piece.data() + piece.size() - 4);
    } else {
      first = static_cast<uint8_t>(piece[0]);
      last = static_cast<uint64_t>(static_cast<uint8_t>(piece[piece.size() / 2])) << 8 |
             static_cast<uint8_t>(piece.back());
    }
    Entry& entry = entries_[hashing::mix(first ^ num_bytes, last ^ 0x9E3779B97F4A7C15u) & (kNumEntries - 1)];
    *hit = entry.first == first && entry.last == last && entry.num_bytes == num_bytes;
    if (!*hit) entry = {first, last, 0, 0, {}};
    return entry;
  }

 private:
  static constexpr size_t kNumEntries = 8192;

  std::vector<Entry> entries_;  // kNumEntries, once in use
  uint64_t owner_ = 0;
};

}  // namespace qwin
