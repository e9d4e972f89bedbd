// SPDX-License-Identifier: Apache-2.0
#include "sampling/stop_matcher.h"

#include <algorithm>

namespace qwin {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    Pattern p;
    p.borders.resize(stop.size());
    for (size_t i = 1, border = 0; i < stop.size(); ++i) {
      while (border > 0 && stop[i] != stop[border]) border = p.borders[border - 1];
      if (stop[i] == stop[border]) ++border;
      p.borders[i] = border;
    }
    p.text = std::move(stop);
    patterns_.push_back(std::move(p));
  }
}

// Requires: state < text.size(); a full match ends the matcher.
void StopMatcher::Pattern::advance(char byte) {
  while (state > 0 && text[state] != byte) state = borders[state - 1];
  if (text[state] == byte) ++state;
}

std::string StopMatcher::feed(std::string_view piece) {
  if (stopped()) return {};
  size_t keep = 0;  // bytes at the end of held_ that may belong to a stop
  for (char byte : piece) {
    held_.push_back(byte);
    keep = 0;
    for (size_t i = 0; i < patterns_.size(); ++i) {
      Pattern& p = patterns_[i];
      p.advance(byte);
      keep = std::max(keep, p.state);
      const bool complete = p.state == p.text.size();
      if (complete && (!stopped() || p.text.size() > matched_stop().size())) matched_ = static_cast<int>(i);
    }
    if (stopped()) {
      std::string out = held_.substr(0, held_.size() - matched_stop().size());
      held_.clear();
      return out;
    }
  }
  if (piece.empty()) return {};
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::flush() {
  for (Pattern& p : patterns_) p.state = 0;
  return std::exchange(held_, {});
}

}  // namespace qwin
