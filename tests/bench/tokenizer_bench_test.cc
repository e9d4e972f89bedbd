// SPDX-License-Identifier: Apache-2.0
#include "bench/tokenizer_bench.h"

#include <gtest/gtest.h>

namespace qwin {

namespace {

TEST(TokenizerBenchTest, CountsPiecesAndTokensOfTheText) {
  const auto tokenizer =
      Tokenizer::load(open_model_files(std::string(QWIN_TESTDATA) + "/tiny/qwen2_tied_gguf_q8_0/model.gguf"));
  constexpr std::string_view kText = "The file, the keys: 42 pages.\n";
  const TokenizerBenchResult result = bench_tokenizer(*tokenizer, kText, 1);
  EXPECT_EQ(result.bytes, kText.size());
  EXPECT_EQ(result.pieces,
            11u);  // The, file, the comma, the, keys, the colon, a space, 4, 2, pages, the stop with the line end
  EXPECT_EQ(result.tokens, tokenizer->encode(kText, false).size());
  EXPECT_GT(result.pretokenize_mb_s, 0);
  EXPECT_GT(result.encode_mb_s, 0);
  EXPECT_EQ(result.encode_spread, 0);
}

}  // namespace

}  // namespace qwin
