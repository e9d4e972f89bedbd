// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/vocabulary.h"

#include <array>
#include <random>

#include "qwin/error.h"
#include "tokenizer/hash.h"
#include "tokenizer/unicode.h"

namespace qwin {

const uint64_t hashing::kSeed = [] {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32 | device()) | 1;
}();

namespace {

// Character of the byte-level alphabet -> byte, -1 for all others. Printable Latin-1 stands for itself, the rest
// follows from 256.
constexpr std::array<int16_t, 324> make_byte_of_character() {
  std::array<int16_t, 324> table{};
  for (auto& entry : table) entry = -1;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    table[printable ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

constexpr std::array<int16_t, 324> kByteOfCharacter = make_byte_of_character();

uint32_t short_hash(std::string_view bytes) { return static_cast<uint32_t>(hashing::hash_bytes(bytes)); }

}  // namespace

bool decode_byte_level(std::string_view spelled, std::string& bytes) {
  bytes.clear();
  for (size_t i = 0; i < spelled.size();) {
    const unicode::Decoded c = unicode::decode(spelled, i);
    if (c.code_point >= kByteOfCharacter.size() || kByteOfCharacter[c.code_point] < 0) return false;
    bytes.push_back(static_cast<char>(kByteOfCharacter[c.code_point]));
    i += c.length;
  }
  return true;
}

void Vocabulary::reserve(size_t num_tokens, size_t num_bytes) {
  ends_.reserve(num_tokens);
  text_.reserve(num_bytes);
  size_t num_slots = 16;
  while (num_slots < 2 * num_tokens) num_slots *= 2;
  if (num_slots > slots_.size()) grow(num_slots);
}

void Vocabulary::add(std::string_view bytes, bool findable) {
  const auto id = static_cast<int32_t>(ends_.size());
  if (text_.size() + bytes.size() > kMaxVocabularyBytes)
    throw Error(ErrorCode::bad_tokenizer, "the tokens fill over 256 MiB");
  text_.append(bytes);
  ends_.push_back(static_cast<uint32_t>(text_.size()));
  if (!findable) return;
  if (2 * (num_findable_ + 1) > slots_.size()) grow(slots_.empty() ? 16 : 2 * slots_.size());
  const uint32_t hash = short_hash(bytes);
  size_t slot = hash & (slots_.size() - 1);
  for (; slots_[slot].id >= 0; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].hash == hash && this->bytes(slots_[slot].id) == bytes) {
      throw Error(ErrorCode::bad_tokenizer, "tokens " + std::to_string(slots_[slot].id) + " and " + std::to_string(id) +
                                                " are the same; every token must be there once");
    }
  }
  slots_[slot] = {hash, id};
  ++num_findable_;
}

void Vocabulary::grow(size_t num_slots) {
  std::vector<Slot> old(num_slots);
  old.swap(slots_);
  for (const Slot& entry : old) {
    if (entry.id < 0) continue;
    size_t slot = entry.hash & (num_slots - 1);
    while (slots_[slot].id >= 0) slot = (slot + 1) & (num_slots - 1);
    slots_[slot] = entry;
  }
}

int32_t Vocabulary::find(std::string_view bytes) const {
  if (slots_.empty()) return -1;
  const uint32_t hash = short_hash(bytes);
  for (size_t slot = hash & (slots_.size() - 1); slots_[slot].id >= 0; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].hash == hash && this->bytes(slots_[slot].id) == bytes) return slots_[slot].id;
  }
  return -1;
}

}  // namespace qwin
