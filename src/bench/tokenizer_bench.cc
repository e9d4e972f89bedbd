// SPDX-License-Identifier: Apache-2.0
#include "bench/tokenizer_bench.h"

#include <chrono>
#include <vector>

#include "bench/statistics.h"
#include "tokenizer/pretokenizer.h"

namespace qwin {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kRoundSeconds = 0.1;

uint64_t count_pieces(std::string_view text) {
  uint64_t pieces = 0;
  for (size_t begin = 0; begin < text.size(); begin = next_piece_end(text, begin)) ++pieces;
  return pieces;
}

// 10^6 bytes a second of one round of action(), which handles `bytes`.
template <typename F>
double rate(uint64_t bytes, F&& action) {
  const Clock::time_point start = Clock::now();
  double seconds = 0;
  uint64_t done = 0;
  do {
    action();
    done += bytes;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } while (seconds < kRoundSeconds);
  return static_cast<double>(done) / seconds * 1e-6;
}

}  // namespace

TokenizerBenchResult bench_tokenizer(const Tokenizer& tokenizer, std::string_view text, int rounds) {
  TokenizerBenchResult result{.bytes = text.size()};
  std::vector<double> pretokenize, encode;
  for (int round = 0; round < rounds; ++round) {
    pretokenize.push_back(rate(text.size(), [&] { result.pieces = count_pieces(text); }));
    encode.push_back(rate(text.size(), [&] { result.tokens = tokenizer.encode(text, false).size(); }));
  }
  result.pretokenize_mb_s = median(pretokenize);
  result.encode_mb_s = median(encode);
  result.encode_spread = spread(encode);
  return result;
}

}  // namespace qwin
