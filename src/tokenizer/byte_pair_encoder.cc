// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_pair_encoder.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>

#include "qwin/error.h"
#include "tokenizer/hash.h"
#include "tokenizer/piece_cache.h"

namespace qwin {
namespace {

// Up to here a scan for the lowest rank beats a heap.
constexpr size_t kMaxShortPiece = 40;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

uint64_t next_number() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

PieceCache& cache_of_this_thread() {
  thread_local PieceCache cache;
  return cache;
}

}  // namespace

BytePairEncoder::BytePairEncoder(const Vocabulary& vocabulary, std::span<const Merge> merges)
    : number_(next_number()), vocabulary_(vocabulary), memo_(new std::atomic<Memo>[vocabulary.size()] {}) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary.find({&text, 1});
    if (byte_ids_[byte] < 0) throw Error(ErrorCode::bad_tokenizer, "no token for byte " + std::to_string(byte));
  }
  for (uint32_t id = 0; id < vocabulary.size(); ++id) {
    max_token_bytes_ = std::max(max_token_bytes_, vocabulary.bytes(id).size());
  }
  size_t num_slots = 16;
  while (num_slots * 5 < merges.size() * 8) num_slots *= 2;
  slots_.resize(num_slots);
  may_merge_.resize(num_slots / 8);
  merged_ids_.reserve(merges.size());
  for (const Merge& merge : merges) {
    insert(pair_key(merge.left, merge.right), static_cast<uint32_t>(merged_ids_.size()));
    merged_ids_.push_back(merge.merged);
  }
  byte_pair_ranks_.resize(256 * 256);
  for (size_t i = 0; i < byte_pair_ranks_.size(); ++i) {
    byte_pair_ranks_[i] = find_rank(byte_ids_[i >> 8], byte_ids_[i & 255]);
  }
}

void BytePairEncoder::insert(uint64_t pair, uint32_t rank) {
  const uint64_t hash = hashing::hash_u64(pair);
  const size_t bit = (hash >> 32) & (may_merge_.size() * 64 - 1);
  may_merge_[bit / 64] |= uint64_t{1} << bit % 64;
  size_t slot = hash & (slots_.size() - 1);
  for (; slots_[slot].rank != kNoMerge; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].pair == pair) {
      throw Error(ErrorCode::bad_tokenizer, "merges " + std::to_string(slots_[slot].rank) + " and " +
                                                std::to_string(rank) + " are the same pair");
    }
  }
  slots_[slot] = {pair, rank};
}

inline uint32_t BytePairEncoder::find_rank(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  const uint64_t hash = hashing::hash_u64(pair);
  const size_t bit = (hash >> 32) & (may_merge_.size() * 64 - 1);
  if ((may_merge_[bit / 64] >> bit % 64 & 1) == 0) return kNoMerge;
  size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot].pair != pair && slots_[slot].rank != kNoMerge) slot = (slot + 1) & (slots_.size() - 1);
  return slots_[slot].rank;
}

void BytePairEncoder::encode(std::string_view piece, std::vector<int32_t>& ids, Scratch& scratch) const {
  if (piece.size() > PieceCache::kMaxBytes) return encode_by_merges(piece, ids, scratch);
  PieceCache& cache = cache_of_this_thread();
  cache.use_for(number_);
  bool hit;
  PieceCache::Entry& entry = cache.find(piece, &hit);
  if (hit) {
    ids.insert(ids.end(), entry.ids.begin(), entry.ids.begin() + entry.num_ids);
    return;
  }
  const size_t first = ids.size();
  encode_by_merges(piece, ids, scratch);
  const size_t num_ids = ids.size() - first;
  if (num_ids > PieceCache::kMaxIds) return;
  std::copy(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end(), entry.ids.begin());
  entry.num_ids = static_cast<uint8_t>(num_ids);
  entry.num_bytes = static_cast<uint8_t>(piece.size());
}

void BytePairEncoder::encode_by_merges(std::string_view piece, std::vector<int32_t>& ids, Scratch& scratch) const {
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
  size_t n = piece.size();
  for (size_t i = 0; i < n; ++i) symbols[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = rank_of_bytes(piece[i], piece[i + 1]);
  while (n > 1) {
    const size_t best = static_cast<size_t>(std::min_element(ranks, ranks + n - 1) - ranks);
    if (ranks[best] == kNoMerge) break;
    symbols[best] = merged_ids_[ranks[best]];
    --n;
    std::memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof(symbols[0]));
    std::memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof(ranks[0]));
    if (best + 1 < n) ranks[best] = find_rank(symbols[best], symbols[best + 1]);
    if (best > 0) ranks[best - 1] = find_rank(symbols[best - 1], symbols[best]);
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
  for (uint32_t i = 0; i < n; ++i) {
    const bool is_last = i + 1 == n;
    const uint32_t rank = is_last ? kNoMerge : rank_of_bytes(piece[i], piece[i + 1]);
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], rank, is_last ? kEnd : i + 1, i == 0 ? kEnd : i - 1};
    if (rank != kNoMerge) heap.push_back(entry(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto look_up = [&](uint32_t i) {
    const uint32_t next = symbols[i].next;
    symbols[i].rank = next == kEnd ? kNoMerge : find_rank(symbols[i].id, symbols[next].id);
    if (symbols[i].rank == kNoMerge) return;
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
    symbols[left].id = merged_ids_[symbols[left].rank];
    symbols[left].next = symbols[right].next;
    symbols[right].rank = kNoMerge;
    if (symbols[left].next != kEnd) symbols[symbols[left].next].previous = left;
    look_up(left);
    if (symbols[left].previous != kEnd) look_up(symbols[left].previous);
  }
  for (uint32_t i = 0; i != kEnd; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace qwin
