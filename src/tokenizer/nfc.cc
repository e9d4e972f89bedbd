// SPDX-License-Identifier: Apache-2.0
// Text is cut into runs that begin at an inert character (a starter that composes with nothing before it):
// normalization never reaches across such a border, so all but the few runs with marks are copied as they are.
#include "tokenizer/nfc.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "tokenizer/unicode.h"

namespace qwin {
namespace {

using unicode::Decoded;

constexpr uint32_t kHangulBase = 0xAC00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7;
constexpr uint32_t kLCount = 19, kVCount = 21, kTCount = 28, kHangulCount = kLCount * kVCount * kTCount;

struct Mark {
  uint32_t code_point;
  uint8_t combining_class;
};

uint8_t combining_class(uint32_t c) {
  if (c < 0x300) return 0;
  const auto& ranges = unicode::kCombiningRanges;
  const auto it =
      std::upper_bound(ranges.begin(), ranges.end(), c, [](uint32_t v, const auto& r) { return v < r.first; });
  return it != ranges.begin() && c <= (it - 1)->last ? (it - 1)->combining_class : 0;
}

void append_decomposed(std::vector<Mark>& out, uint32_t c) {
  const auto put = [&](uint32_t part) { out.push_back({part, combining_class(part)}); };
  if (c - kHangulBase < kHangulCount) {
    const uint32_t index = c - kHangulBase;
    put(kLBase + index / (kVCount * kTCount));
    put(kVBase + index % (kVCount * kTCount) / kTCount);
    if (index % kTCount != 0) put(kTBase + index % kTCount);
    return;
  }
  const auto& table = unicode::kDecompositions;
  const auto it =
      std::lower_bound(table.begin(), table.end(), c, [](const auto& row, uint32_t v) { return row.code_point < v; });
  if (it == table.end() || it->code_point != c) return put(c);
  for (uint32_t i = 0; i < it->length; ++i) put(unicode::kDecompositionPool[it->offset + i]);
}

// Canonical order: marks between two starters, by class, equal classes as they came.
void reorder(std::vector<Mark>& run) {
  const auto is_starter = [](const Mark& m) { return m.combining_class == 0; };
  for (auto begin = run.begin(); begin != run.end();) {
    begin = std::find_if_not(begin, run.end(), is_starter);
    const auto end = std::find_if(begin, run.end(), is_starter);
    std::stable_sort(begin, end, [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    begin = end;
  }
}

// The composed character, or 0.
uint32_t compose_pair(uint32_t a, uint32_t b) {
  if (a - kLBase < kLCount && b - kVBase < kVCount)
    return kHangulBase + ((a - kLBase) * kVCount + (b - kVBase)) * kTCount;
  if (a - kHangulBase < kHangulCount && (a - kHangulBase) % kTCount == 0 && b - kTBase - 1 < kTCount - 1) {
    return a + (b - kTBase);
  }
  const auto& table = unicode::kCompositions;
  const auto it = std::lower_bound(table.begin(), table.end(), std::pair{a, b}, [](const auto& row, const auto& pair) {
    return std::pair{row.first, row.second} < pair;
  });
  return it != table.end() && it->first == a && it->second == b ? it->composed : 0;
}

// Composes in place: a mark joins the last starter unless another mark of its class or a higher one stands between.
void compose(std::vector<Mark>& run) {
  size_t starter = run.size();  // index in the output of the last starter; none yet
  size_t out = 0;
  for (const Mark mark : run) {
    const bool adjacent = starter != run.size() && starter + 1 == out;
    const bool blocked = starter == run.size() || (!adjacent && run[out - 1].combining_class >= mark.combining_class);
    const uint32_t composed = blocked ? 0 : compose_pair(run[starter].code_point, mark.code_point);
    if (composed != 0) {
      run[starter].code_point = composed;
      continue;
    }
    if (mark.combining_class == 0) starter = out;
    run[out++] = mark;
  }
  run.resize(out);
}

bool is_inert(uint32_t code_point) { return (unicode::properties(code_point) & unicode::kNotInert) == 0; }

// The first position from `position` on whose character is not inert; every character before U+0300 is inert.
// `last_inert` becomes the begin of the last inert character passed.
size_t skip_inert(std::string_view text, size_t position, size_t* last_inert) {
  while (position < text.size()) {
    uint64_t word;
    if (position + sizeof(word) <= text.size()) {
      std::memcpy(&word, text.data() + position, sizeof(word));
      if ((word & 0x8080808080808080u) == 0) {
        *last_inert = position + sizeof(word) - 1;
        position += sizeof(word);
        continue;
      }
    }
    const Decoded c = unicode::decode(text, position);
    if (!is_inert(c.code_point)) return position;
    *last_inert = position;
    position += c.length;
  }
  return position;
}

}  // namespace

bool is_surely_nfc(std::string_view text) {
  size_t last_inert = 0;
  return skip_inert(text, 0, &last_inert) == text.size();
}

std::string to_nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::vector<Mark> run;
  size_t copied = 0;
  for (size_t position = 0;;) {
    size_t run_begin = position;
    position = skip_inert(text, position, &run_begin);
    if (position == text.size()) break;
    out.append(text.substr(copied, run_begin - copied));
    if (run_begin != position && unicode::decode(text, run_begin).code_point == unicode::kInvalid) {
      out.push_back(text[run_begin++]);
    }
    run.clear();
    // The run: the inert character, the marks, and on to the next inert character.
    for (position = run_begin; position < text.size();) {
      const Decoded c = unicode::decode(text, position);
      if (position != run_begin && is_inert(c.code_point)) break;
      append_decomposed(run, c.code_point);
      position += c.length;
    }
    reorder(run);
    compose(run);
    for (const Mark& mark : run) unicode::append_utf8(out, mark.code_point);
    copied = position;
  }
  out.append(text.substr(copied));
  return out;
}

}  // namespace qwin
