// SPDX-License-Identifier: Apache-2.0
// Hashing for the tokenizer's tables. Seeded anew in every process: a model file cannot be made whose entries all
// collide.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace qwin::hashing {

extern const uint64_t kSeed;

inline uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

template <typename Word>
inline uint64_t load(const char* data) {
  Word word;
  std::memcpy(&word, data, sizeof(word));
  return word;
}

inline uint64_t hash_u64(uint64_t value) { return mix(value ^ kSeed, 0xA0761D6478BD642Fu ^ kSeed); }

inline uint64_t hash_bytes(std::string_view bytes) {
  const char* data = bytes.data();
  const size_t n = bytes.size();
  uint64_t low = 0, high = 0;
  uint64_t hash = kSeed ^ n * 0x9E3779B97F4A7C15u;
  if (n > 16) {
    for (size_t i = 0; i + 16 < n; i += 8) hash = mix(hash ^ load<uint64_t>(data + i), 0xD6E8FEB86659FD93u ^ kSeed);
  }
  if (n >= 8) {  // the ends overlap: no tail loop
    low = load<uint64_t>(n > 16 ? data + n - 16 : data);
    high = load<uint64_t>(data + n - 8);
  } else if (n >= 4) {
    low = load<uint32_t>(data);
    high = load<uint32_t>(data + n - 4);
  } else if (n > 0) {
    low = static_cast<uint8_t>(data[0]) | static_cast<uint64_t>(static_cast<uint8_t>(data[n / 2])) << 8 |
          static_cast<uint64_t>(static_cast<uint8_t>(data[n - 1])) << 16;
  }
  return mix(hash ^ low, mix(high ^ 0xE7037ED1A0B428DBu, kSeed) ^ 0xA0761D6478BD642Fu);
}

}  // namespace qwin::hashing
