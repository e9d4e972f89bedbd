// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_pair_encoder.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>

#include "qwin/error.h"
#include "tokenizer/hash.h"

namespace qwin {
namespace {

// Up to here a scan for the lowest rank beats a heap.
constexpr size_t kMaxShortPiece = 40;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

BytePairEncoder::BytePairEncoder(const Vocabulary& vocabulary, std::span<const Merge> merges)
    : vocabulary_(vocabulary), memo_(new std::atomic<Memo>[vocabulary.size()] {}) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary.find({&text, 1});
    if (byte_ids_[byte] < 0) throw Error(ErrorCode::bad_tokenizer, "no token for byte " + std::to_string(byte));
  }
  for (uint32_t id = 0; id < vocabulary.size(); ++id)
    max_token_bytes_ = std::max(max_token_bytes_, vocabulary.bytes(id).size());
  size_t num_slots = 16;
  while (num_slots * 5 < merges.size() * 8) num_slots *= 2;
  slots_.resize(num_slots);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    const uint64_t key = pair_key(merge.left, merge.right);
    size_t slot = hashing::hash_u64(key) & (num_slots - 1);
    for (; slots_[slot].rank != kNoMerge; slot = (slot + 1) & (num_slots - 1)) {
      if (slots_[slot].pair == key) {
        throw Error(ErrorCode::bad_tokenizer, "merges " + std::to_string(slots_[slot].rank) + " and " +
                                                  std::to_string(rank) + " are the same pair");
      }
    }
    slots_[slot] = {key, static_cast<uint32_t>(rank), merge.merged};
  }
}

inline const BytePairEncoder::Slot& BytePairEncoder::find_merge(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  size_t slot = hashing::hash_u64(key) & (slots_.size() - 1);
  while (slots_[slot].pair != key && slots_[slot].rank != kNoMerge) slot = (slot + 1) & (slots_.size() - 1);
  return slots_[slot];
}

void BytePairEncoder::encode(std::string_view piece, std::vector<int32_t>& ids, Scratch& scratch) const {
  const int32_t whole = piece.size() <= max_token_bytes_ ? vocabulary_.find(piece) : -1;
  if (whole >= 0 && memo_[whole].load(std::memory_order_relaxed) == Memo::whole) return ids.push_back(whole);
  const size_t first = ids.size();
  if (piece.size() <= kMaxShortPiece) {
    encode_short(piece, ids);
  } else {
    encode_long(piece, ids, scratch);
  }
  if (whole >= 0) {
    const bool reached = ids.size() == first + 1 && ids[first] == whole;
    memo_[whole].store(reached ? Memo::whole : Memo::parts, std::memory_order_relaxed);
  }
}

void BytePairEncoder::encode_short(std::string_view piece, std::vector<int32_t>& ids) const {
  int32_t symbols[kMaxShortPiece];
  uint32_t ranks[kMaxShortPiece];  // ranks[i]: of the pair (i, i + 1)
  int32_t merged[kMaxShortPiece];
  size_t n = piece.size();
  const auto look_up = [&](size_t i) {
    const Slot& slot = find_merge(symbols[i], symbols[i + 1]);
    ranks[i] = slot.rank;
    merged[i] = slot.merged;
  };
  for (size_t i = 0; i < n; ++i) symbols[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    const size_t best = static_cast<size_t>(std::min_element(ranks, ranks + n - 1) - ranks);
    if (ranks[best] == kNoMerge) break;
    symbols[best] = merged[best];
    --n;
    std::memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof(symbols[0]));
    if (best + 1 < n) {
      std::memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof(ranks[0]));
      std::memmove(merged + best, merged + best + 1, (n - best - 1) * sizeof(merged[0]));
      look_up(best);
    }
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), symbols, symbols + n);
}

void BytePairEncoder::encode_long(std::string_view piece, std::vector<int32_t>& ids, Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  constexpr uint32_t kEnd = 0xFFFFFFFF;
  if (piece.size() >= kEnd)
    throw Error(ErrorCode::invalid_argument, "a text of 4 GiB or more cannot be tokenized at once");
  const auto n = static_cast<uint32_t>(piece.size());
  symbols.resize(n);
  heap.clear();
  const auto entry = [&](uint32_t i) { return static_cast<uint64_t>(symbols[i].rank) << 32 | i; };
  const auto look_up = [&](uint32_t i) {
    const uint32_t next = symbols[i].next;
    symbols[i].rank = next == kEnd ? kNoMerge : find_merge(symbols[i].id, symbols[next].id).rank;
    return symbols[i].rank != kNoMerge;
  };
  for (uint32_t i = 0; i < n; ++i) {
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], kNoMerge, i + 1 == n ? kEnd : i + 1,
                  i == 0 ? kEnd : i - 1};
  }
  for (uint32_t i = 0; i < n; ++i) {
    if (look_up(i)) heap.push_back(entry(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](uint32_t i) {
    if (!look_up(i)) return;
    heap.push_back(entry(i));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const uint64_t top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const auto left = static_cast<uint32_t>(top);
    // A symbol whose pair has changed since carries another rank; one that was merged away carries none.
    if (symbols[left].rank != top >> 32) continue;
    const uint32_t right = symbols[left].next;
    symbols[left].id = find_merge(symbols[left].id, symbols[right].id).merged;
    symbols[left].next = symbols[right].next;
    symbols[right].rank = kNoMerge;
    if (symbols[left].next != kEnd) symbols[symbols[left].next].previous = left;
    push(left);
    if (symbols[left].previous != kEnd) push(symbols[left].previous);
  }
  for (uint32_t i = 0; i != kEnd; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace qwin
