// SPDX-License-Identifier: Apache-2.0
// Finds stop strings in text that arrives in pieces, and lets through at once all text that cannot belong to one.
// Single-threaded, owned by the sequence.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwin {

class StopMatcher {
 public:
  // Requires: no empty string among the stops.
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds text and returns what may be emitted now: all but the longest suffix that begins a stop string. With whole
  // UTF-8 characters fed and UTF-8 stops, whole characters come out. The match that ends first counts, of several that
  // end there the longest; the text ends exactly before it, and from then on nothing comes out.
  std::string feed(std::string_view piece);

  // The text held back, at the end of a sequence that was not stopped.
  std::string flush();

  bool stopped() const { return matched_ >= 0; }
  // The stop string found. Requires: stopped().
  const std::string& matched_stop() const { return patterns_[static_cast<size_t>(matched_)].text; }

 private:
  // Knuth-Morris-Pratt: `state` bytes of `text` end at the last byte fed; `borders[i]` is the length of the longest
  // proper border of text's first i + 1 bytes.
  struct Pattern {
    std::string text;
    std::vector<size_t> borders;
    size_t state = 0;

    void advance(char byte);
  };

  std::vector<Pattern> patterns_;
  std::string held_;  // not yet emitted: as long as the largest state
  int matched_ = -1;
};

}  // namespace qwin
