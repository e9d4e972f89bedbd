// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer.h"

#include <pthread.h>

#include <sstream>
#include <thread>

#include "tokenizer_test_support.h"

namespace qwin {
namespace {

using ::testing::ElementsAre;
using testing::GgufVocabulary;
using testing::load_gguf_testdata;
using testing::load_json_testdata;
using Ids = std::vector<int32_t>;

std::vector<Json> golden_rows() {
  std::istringstream lines(testing::read_testdata("golden.jsonl"));
  std::vector<Json> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(parse_json(line, "golden.jsonl", ErrorCode::io));
  return rows;
}

void expect_golden_ids(const Tokenizer& tokenizer) {
  const auto rows = golden_rows();
  ASSERT_GT(rows.size(), 4000u);
  for (const Json& row : rows) {
    const auto text = row[0].get<std::string>();
    ASSERT_EQ(tokenizer.encode(text, true), row[1].get<Ids>()) << row[0];
    ASSERT_EQ(tokenizer.encode(text, false), row.back().get<Ids>()) << row[0];
  }
}

TEST(TokenizerTest, GivesTheIdsOfHuggingFaceFromTokenizerJson) { expect_golden_ids(*load_json_testdata()); }

TEST(TokenizerTest, GivesTheIdsOfHuggingFaceFromGguf) { expect_golden_ids(*load_gguf_testdata()); }

TEST(TokenizerTest, DecodesWhatItEncoded) {
  const auto tokenizer = load_gguf_testdata();
  const std::string text = "def f(x):\n    return x -> '你好' 😀\r\n\t<|im_end|> done";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, true)), text);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false)), text);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a<|im_end|>b", true), true), "ab");
}

TEST(TokenizerTest, PaddingAtTheEndIsNoToken) {
  const auto tokenizer = load_gguf_testdata();
  const auto last = static_cast<int32_t>(tokenizer->num_ids()) - 1;
  EXPECT_EQ(tokenizer->token_bytes(last), "<|file_sep|>");
  EXPECT_EQ(tokenizer->num_ids(), load_json_testdata()->num_ids());
  EXPECT_EQ(tokenizer->token_bytes(last + 1), "");
  EXPECT_EQ(tokenizer->token_bytes(-1), "");
  EXPECT_FALSE(tokenizer->is_special(last + 1));
  EXPECT_EQ(tokenizer->decode(Ids{last + 1, -5, INT32_MAX}), "");
  EXPECT_FALSE(tokenizer->find_token("[PAD0]"));
}

TEST(TokenizerTest, ControlTokensAreSpecialAndToolTokensAreNot) {
  for (const auto& tokenizer : {load_gguf_testdata(), load_json_testdata()}) {
    EXPECT_TRUE(tokenizer->is_special(tokenizer->find_token("<|im_end|>").value()));
    EXPECT_TRUE(tokenizer->is_special(tokenizer->find_token("<|fim_prefix|>").value()));
    EXPECT_FALSE(tokenizer->is_special(tokenizer->find_token("<tool_call>").value()));
    EXPECT_FALSE(tokenizer->is_special(tokenizer->find_token("Hello").value_or(0)));
    EXPECT_FALSE(tokenizer->find_token("no such token"));
  }
}

TEST(TokenizerTest, AddedTokensCountOnlyWhollyInsideParseSpecialText) {
  GgufVocabulary vocabulary;
  const int32_t end = vocabulary.add("<|im_end|>", GgufVocabulary::kControl);
  const auto tokenizer = vocabulary.load();
  const auto ids = [&](std::vector<TextSegment> segments) { return tokenizer->encode(segments); };
  EXPECT_EQ(ids({{"<|im_end|>", true}}), Ids{end});
  EXPECT_EQ(ids({{"<|im_", true}, {"end|>", true}}), Ids{end});
  EXPECT_EQ(ids({{"<|im_", true}, {"end|>", false}}).size(), 10u);
  EXPECT_EQ(ids({{"<|im_end|", false}, {">", true}}).size(), 10u);
  EXPECT_EQ(ids({{"<|im_end|>", false}, {"<|im_end|>", true}}).size(), 11u);
  EXPECT_EQ(ids({{"<", true}, {"|im_end|", false}, {">", true}}).size(), 10u);
  EXPECT_EQ(ids({{"", true}, {"<|im_end|>", true}, {"", false}, {"<|im_end|>", true}}), (Ids{end, end}));
  EXPECT_EQ(ids({}), Ids{});
  EXPECT_EQ(ids({{"", false}}), Ids{});
}

TEST(TokenizerTest, NormalizationAndMergesRunAcrossSegments) {
  const auto tokenizer = load_gguf_testdata();
  const std::string text =
      "caf"
      "e\u0301 doesn't  work<|im_end|>\u0301 x";
  const Ids whole = tokenizer->encode(text, true);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const TextSegment parts[] = {{std::string_view(text).substr(0, cut), true},
                                 {std::string_view(text).substr(cut), true}};
    ASSERT_EQ(tokenizer->encode(parts), whole) << cut;
  }
  const TextSegment parts[] = {{"does", true}, {"n't  w", false}, {"ork", true}};
  EXPECT_EQ(tokenizer->encode(parts), tokenizer->encode("doesn't  work", true));
}

TEST(TokenizerTest, EndTokensAreTheUnionOfAllSources) {
  GgufVocabulary vocabulary;
  const int32_t text_end = vocabulary.add("<|endoftext|>", GgufVocabulary::kControl);
  const int32_t turn_end = vocabulary.add("<|im_end|>", GgufVocabulary::kControl);
  const int32_t other_end = vocabulary.add("<|eot|>", GgufVocabulary::kControl);
  EXPECT_THAT(vocabulary.load()->eos_ids(), ElementsAre(text_end));
  vocabulary.other["tokenizer.chat_template"] = GgufVocabulary::text("{{ '<|im_end|>' }}");
  EXPECT_THAT(vocabulary.load()->eos_ids(), ElementsAre(text_end, turn_end));
  vocabulary.other["tokenizer.ggml.eot_token_id"] = GgufVocabulary::number(other_end);
  vocabulary.other["tokenizer.ggml.eos_token_id"] = GgufVocabulary::number(turn_end);
  EXPECT_THAT(vocabulary.load()->eos_ids(), ElementsAre(text_end, turn_end, other_end));
}

TEST(TokenizerTest, BosIsToldButNeverAdded) {
  GgufVocabulary vocabulary;
  const int32_t bos = vocabulary.add("<|bos|>", GgufVocabulary::kControl);
  EXPECT_EQ(vocabulary.load()->bos_id(), std::nullopt);
  vocabulary.other["tokenizer.ggml.bos_token_id"] = GgufVocabulary::number(bos);
  vocabulary.other["tokenizer.ggml.add_bos_token"] = GgufVocabulary::boolean(true);
  const auto tokenizer = vocabulary.load();
  EXPECT_EQ(tokenizer->bos_id(), bos);
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->encode("a", true), Ids{'a'});
}

TEST(TokenizerTest, BytesThatAreNoUtf8BecomeTheirByteTokens) {
  const auto tokenizer = GgufVocabulary().load();
  EXPECT_EQ(tokenizer->encode("a\xFF\xE4\xBD z\xC0", false), (Ids{'a', 0xFF, 0xE4, 0xBD, ' ', 'z', 0xC0}));
  EXPECT_EQ(tokenizer->encode("\xFF\xCC\x81", false), (Ids{0xFF, 0xCC, 0x81}));
}

TEST(TokenizerTest, ThreadsAndTokenizersDoNotDisturbEachOther) {
  const auto cut_down = load_gguf_testdata();
  const auto bytes = GgufVocabulary().load();
  const std::string text = "the quick brown fox\n    return self.value 你好";
  const Ids want = cut_down->encode(text, false), want_bytes = bytes->encode(text, false);
  ASSERT_NE(want, want_bytes);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        wrong += cut_down->encode(text, false) != want;
        wrong += bytes->encode(text, false) != want_bytes;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// Runs `action` on a thread with a stack of 512 KiB.
void run_on_small_stack(const std::function<void()>& action) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 512 << 10);
  pthread_t thread;
  const auto entry = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, entry, const_cast<std::function<void()>*>(&action)), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(TokenizerTest, AMillionOfOneCharacterNeedsNoStack) {
  const auto tokenizer = load_gguf_testdata();
  for (const std::string unit :
       {"a", "A", " ", "\n", "\r\n", "中", "1", "!", "'", "\t", "\u0301", "\u1100\u1161", "<", "<|im", "'s", "\xFF"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    run_on_small_stack([&] {
      const Ids ids = tokenizer->encode(text, true);
      EXPECT_GE(ids.size(), 1000u) << unit;
      const bool round = unit != "\xFF" && unit != "\u1100\u1161";  // the others are replaced or normalized
      EXPECT_TRUE(!round || tokenizer->decode(ids) == text) << unit;
    });
  }
}

}  // namespace
}  // namespace qwin
