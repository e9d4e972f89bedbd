// SPDX-License-Identifier: Apache-2.0
// Unicode data as the Hugging Face tokenizers library has it (generated, see tools/make_unicode_tables.py).
#pragma once

#include <cstdint>
#include <span>

namespace qwin::unicode {

inline constexpr uint32_t kMaxCodePoint = 0x10FFFF;
inline constexpr int kBlockBits = 7;

struct CombiningRange {
  uint32_t first, last;
  uint8_t combining_class;
};
// The full canonical decomposition of one code point: a range of kDecompositionPool. Hangul is not listed.
struct Decomposition {
  uint32_t code_point;
  uint16_t offset;
  uint16_t length;
};
struct Composition {
  uint32_t first, second, composed;
};

// Two-stage table of CharClass | kNotInert (unicode.h).
extern const uint8_t kBlockIndex[(kMaxCodePoint + 1) >> kBlockBits];
extern const uint8_t kBlocks[];
extern const uint32_t kDecompositionPool[];
// Each sorted by its first members, for binary search.
extern const std::span<const CombiningRange> kCombiningRanges;
extern const std::span<const Decomposition> kDecompositions;
extern const std::span<const Composition> kCompositions;

}  // namespace qwin::unicode
