// SPDX-License-Identifier: Apache-2.0
// Sentences packed into segments.
#include <algorithm>

#include "document/sentences.h"
#include "qwin/document.h"
#include "tokenizer/unicode.h"

namespace qwin {

namespace {

constexpr int64_t kMinSegmentTokens = 16, kMaxSegmentTokens = int64_t{1} << 20;

using Piece = DocumentSegment;

int64_t count_tokens(const Engine& engine, std::string_view text) {
  return static_cast<int64_t>(engine.tokenize(text, false).size());
}

// Near the middle of a piece: behind a space if there is one in its second quarter, else between two characters.
size_t middle_of(std::string_view text, size_t begin, size_t end) {
  size_t middle = begin + (end - begin) / 2;
  const size_t space = text.find_last_of(" \n\t", middle);
  if (space != text.npos && space > begin + (end - begin) / 4) return space + 1;
  while (middle > begin && unicode::is_continuation(text[middle])) --middle;
  return middle;
}

// A sentence too long for a segment is halved until its parts fit.
void add_fitting(const Engine& engine, std::string_view text, size_t begin, size_t end, int64_t limit,
                 std::vector<Piece>& pieces) {
  const int64_t tokens = count_tokens(engine, text.substr(begin, end - begin));
  const size_t middle = tokens <= limit ? begin : middle_of(text, begin, end);
  if (middle == begin) return pieces.push_back({begin, end, tokens});  // or a single character of many tokens
  add_fitting(engine, text, begin, middle, limit, pieces);
  add_fitting(engine, text, middle, end, limit, pieces);
}

// The first of the pieces before `end` that have at most `limit` tokens together.
size_t first_of_tail(const std::vector<Piece>& pieces, size_t begin, size_t end, int64_t limit) {
  size_t first = end;
  while (first > begin && pieces[first - 1].num_tokens <= limit) limit -= pieces[--first].num_tokens;
  return first;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\f") == text.npos; }

}  // namespace

std::vector<DocumentSegment> split_document(const Engine& engine, std::string_view text, int64_t segment_tokens,
                                            int64_t overlap) {
  if (segment_tokens < kMinSegmentTokens || segment_tokens > kMaxSegmentTokens) {
    throw Error(ErrorCode::invalid_argument, "segment_tokens must be between " + std::to_string(kMinSegmentTokens) +
                                                 " and " + std::to_string(kMaxSegmentTokens) + ", not " +
                                                 std::to_string(segment_tokens));
  }
  if (overlap < 0 || overlap >= segment_tokens) {
    throw Error(ErrorCode::invalid_argument, "overlap must be at least 0 and less than segment_tokens, " +
                                                 std::to_string(segment_tokens) + ", not " + std::to_string(overlap));
  }
  std::vector<Piece> pieces;
  size_t begin = 0;
  for (const size_t end : sentence_ends(text)) {
    add_fitting(engine, text, begin, end, segment_tokens, pieces);
    begin = end;
  }
  std::vector<DocumentSegment> segments;
  size_t first = 0;
  int64_t tokens = 0;
  const auto close = [&](size_t last) {
    const DocumentSegment segment{pieces[first].begin, pieces[last].end, tokens};
    if (!is_blank(text.substr(segment.begin, segment.end - segment.begin))) segments.push_back(segment);
  };
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > first && tokens + pieces[i].num_tokens > segment_tokens) {
      close(i - 1);
      // What the segment repeats leaves room for what is new in it.
      first = first_of_tail(pieces, first + 1, i, std::min(overlap, segment_tokens - pieces[i].num_tokens));
      tokens = 0;
      for (size_t j = first; j < i; ++j) tokens += pieces[j].num_tokens;
    }
    tokens += pieces[i].num_tokens;
  }
  if (!pieces.empty()) close(pieces.size() - 1);
  return segments;
}

}  // namespace qwin
