// SPDX-License-Identifier: Apache-2.0
// What Engine promises beyond the forward pass: answers that do not depend on how the prompt was read, windows, the
// context's end, seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "engine/tiny_models.h"

namespace qwin {

namespace {

std::vector<int32_t> random_prompt(size_t length, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(length);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 300);
  return ids;
}

void expect_same_answer(const GenerationResult& a, const GenerationResult& b) {
  EXPECT_EQ(a.token_ids, b.token_ids);
  EXPECT_EQ(a.text, b.text);
  ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    EXPECT_EQ(std::memcmp(&a.logprobs[i].chosen, &b.logprobs[i].chosen, sizeof(TokenProbability)), 0) << "token " << i;
    ASSERT_EQ(a.logprobs[i].top.size(), b.logprobs[i].top.size());
    for (size_t k = 0; k < a.logprobs[i].top.size(); ++k)
      EXPECT_EQ(std::memcmp(&a.logprobs[i].top[k], &b.logprobs[i].top[k], sizeof(TokenProbability)), 0)
          << "token " << i;
  }
}

GenerationResult answer(Engine& engine, std::span<const int32_t> prompt, const SamplingParams& params,
                        const OnText& on_text = {}) {
  return engine.generate({.prompt = {prompt.begin(), prompt.end()}, .sampling = params}, on_text);
}

const SamplingParams kGreedy{.max_tokens = 12, .ignore_eos = true, .logprobs = 5};

class EngineTest : public testing::TestWithParam<const char*> {};

// A prompt read at once, and the same one read in growing pieces, as turns of a chat: every logprob bit for bit.
TEST_P(EngineTest, CachedPrefixGivesTheAnswerOfAFreshRun) {
  const auto engine = load_tiny(GetParam(), detect_cpu_isa()),
             other = load_tiny(GetParam(), detect_cpu_isa(), {.prefix_cache = false});
  const std::vector<int32_t> prompt = random_prompt(110, 1);
  for (const size_t length : {1, 5, 20, 63, 64, 65, 100, 110, 70, 30}) {
    const std::span<const int32_t> part(prompt.data(), length);
    const GenerationResult kept = answer(*engine, part, kGreedy);
    EXPECT_EQ(kept.prompt_tokens, static_cast<int64_t>(length));
    EXPECT_LT(kept.cached_tokens, static_cast<int64_t>(length));
    expect_same_answer(kept, answer(*other, part, kGreedy));
  }
}

TEST_P(EngineTest, LogitsOfAPrefixDoNotDependOnWhatFollows) {
  const auto engine = load_tiny(GetParam(), detect_cpu_isa());
  const std::vector<int32_t> prompt = random_prompt(120, 2);
  const std::vector<float> all = logits_of(*engine, prompt);
  for (const size_t length : {1, 2, 15, 16, 17, 64, 65, 119}) {
    const std::vector<float> part = logits_of(*engine, {prompt.data(), length});
    ASSERT_EQ(std::memcmp(part.data(), all.data(), part.size() * sizeof(float)), 0) << length;
  }
}

// Decoded tokens, read one at a time, and the same tokens as a prompt.
TEST_P(EngineTest, DecodingEqualsReading) {
  const auto engine = load_tiny(GetParam(), detect_cpu_isa());
  std::vector<int32_t> prompt = random_prompt(50, 3);
  const GenerationResult whole = answer(*engine, prompt, {.max_tokens = 40, .ignore_eos = true, .logprobs = 0});
  prompt.insert(prompt.end(), whole.token_ids.begin(), whole.token_ids.begin() + 30);
  const GenerationResult rest = answer(*engine, prompt, {.max_tokens = 10, .ignore_eos = true, .logprobs = 0});
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(rest.token_ids[i], whole.token_ids[30 + i]);
    EXPECT_EQ(rest.logprobs[i].chosen.logprob, whole.logprobs[30 + i].chosen.logprob);
  }
}

TEST_P(EngineTest, ATextGoesOnWhereItsBeginningWasLeft) {
  const auto engine = load_tiny(GetParam(), detect_cpu_isa());
  const std::vector<int32_t> a = random_prompt(45, 4), b = random_prompt(40, 5);  // a page each, with the answers
  answer(*engine, a, kGreedy);
  answer(*engine, b, kGreedy);
  std::vector<int32_t> longer = a;
  longer.push_back(7);
  const GenerationResult again = answer(*engine, longer, kGreedy);
  EXPECT_EQ(again.cached_tokens, 45);
  expect_same_answer(again, answer(*engine, longer, kGreedy));
}

INSTANTIATE_TEST_SUITE_P(TinyModels, EngineTest,
                         testing::Values("qwen2_tied", "qwen2_windowed", "qwen3", "qwen2_sharded_f16"),
                         [](const auto& info) { return std::string(info.param); });

// The window of the request: pages leave, the answer goes on past the context, and nothing depends on the chunks.
class EngineWindowTest : public testing::Test {
 protected:
  std::unique_ptr<Engine> load(int64_t window, int64_t sinks, bool prefix_cache = true) {
    return load_tiny("qwen2_tied", detect_cpu_isa(),
                     {.window = window, .num_sink_tokens = sinks, .prefix_cache = prefix_cache});
  }
};

TEST_F(EngineWindowTest, WindowThatCoversAllChangesNothing) {
  const auto exact = load_tiny("qwen2_tied", detect_cpu_isa()), windowed = load(128, 4);
  const std::vector<int32_t> prompt = random_prompt(100, 6);
  EXPECT_EQ(logits_of(*windowed, prompt), logits_of(*exact, prompt));
}

TEST_F(EngineWindowTest, NarrowWindowForgets) {
  const auto exact = load_tiny("qwen2_tied", detect_cpu_isa()), windowed = load(20, 4);
  const std::vector<int32_t> prompt = random_prompt(100, 6);
  const std::vector<float> a = logits_of(*exact, prompt), b = logits_of(*windowed, prompt);
  const size_t vocab = exact->info().vocab_size;
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(20 * vocab), b.begin()));
  EXPECT_NE(std::memcmp(&a[99 * vocab], &b[99 * vocab], vocab * sizeof(float)), 0);
}

// Prompt and answer far longer than the model's own context: pages that have left make room for the rest.
TEST_F(EngineWindowTest, ConversationGoesOnPastTheContext) {
  for (const auto& [window, sinks] : {std::pair{1, 0}, {70, 4}, {64, 64}, {128, 64}, {200, 130}}) {
    const auto windowed = load(window, sinks);
    const GenerationResult result = answer(*windowed, random_prompt(700, 7), {.max_tokens = 150, .ignore_eos = true});
    EXPECT_EQ(result.token_ids.size(), 150u) << "window " << window;
    EXPECT_EQ(result.finish_reason, FinishReason::length);
    EXPECT_FALSE(result.context_full);
  }
}

TEST_F(EngineWindowTest, CachedPrefixWithAWindowGivesTheAnswerOfAFreshRun) {
  for (const auto& [window, sinks] : {std::pair{30, 4}, {64, 64}, {65, 0}, {100, 70}}) {
    const auto engine = load(window, sinks), other = load(window, sinks, false);
    const std::vector<int32_t> prompt = random_prompt(180, 8);
    for (const size_t length : {40, 90, 130, 180, 175, 100, 30}) {
      const std::span<const int32_t> part(prompt.data(), length);
      SCOPED_TRACE(testing::Message() << "window " << window << ", sinks " << sinks << ", " << length << " tokens");
      expect_same_answer(answer(*engine, part, kGreedy), answer(*other, part, kGreedy));
    }
  }
}

TEST(EngineContextTest, AnswerEndsWhereTheContextDoes) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), {.context_length = 40});
  EXPECT_EQ(engine->info().context_length, 40);
  const GenerationResult result = answer(*engine, random_prompt(30, 9), {.max_tokens = 1000, .ignore_eos = true});
  EXPECT_EQ(result.finish_reason, FinishReason::length);
  EXPECT_TRUE(result.context_full);
  EXPECT_EQ(result.token_ids.size() + 30, 40u);
}

ErrorCode error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::io;
}

TEST(EngineContextTest, PromptsThatDoNotFitAreRefusedAndTheEngineGoesOn) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), {.context_length = 40});
  const GenerationResult before = answer(*engine, random_prompt(20, 10), kGreedy);
  EXPECT_EQ(error_of([&] { answer(*engine, random_prompt(40, 10), kGreedy); }), ErrorCode::context_length_exceeded);
  EXPECT_EQ(error_of([&] { logits_of(*engine, random_prompt(41, 10)); }), ErrorCode::context_length_exceeded);
  EXPECT_EQ(logits_of(*engine, random_prompt(40, 10)).size(), 40u * engine->info().vocab_size);
  expect_same_answer(answer(*engine, random_prompt(20, 10), kGreedy), before);
}

TEST(EngineContextTest, TokensOutsideTheVocabularyAreRefused) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  for (const std::vector<int32_t>& ids : {std::vector<int32_t>{}, {320}, {5, -1}, {5, 2147483647, 3}}) {
    EXPECT_EQ(error_of([&] { answer(*engine, ids, kGreedy); }), ErrorCode::invalid_argument);
    EXPECT_EQ(error_of([&] { logits_of(*engine, ids); }), ErrorCode::invalid_argument);
  }
  EXPECT_EQ(logits_of(*engine, std::vector<int32_t>{319}).size(), 320u) << "a padding row is a token of the model";
}

TEST(EngineContextTest, ContextBeyondTheModelOrTheMemoryIsRefused) {
  EXPECT_EQ(error_of([] { load_tiny("qwen2_tied", CpuIsa::reference, {.context_length = 129}); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(
      error_of([] { load_tiny("qwen2_tied", CpuIsa::reference, {.context_length = 128, .kv_memory_bytes = 20000}); }),
      ErrorCode::does_not_fit);
}

TEST(EngineSamplingTest, SameSeedSameAnswer) {
  const auto engine = load_tiny("qwen2_untied_bf16", detect_cpu_isa());
  const std::vector<int32_t> prompt = random_prompt(20, 11);
  SamplingParams params{.temperature = 1.5f, .max_tokens = 30, .ignore_eos = true, .logprobs = 0};
  const GenerationResult unseeded = answer(*engine, prompt, params);
  expect_same_answer(answer(*engine, prompt, params), unseeded);
  params.seed = 1;
  const GenerationResult one = answer(*engine, prompt, params);
  expect_same_answer(answer(*engine, prompt, params), one);
  params.seed = 2;
  EXPECT_NE(answer(*engine, prompt, params).token_ids, one.token_ids);
  // Another engine over the same file is the same machine.
  params.seed = 1;
  expect_same_answer(answer(*load_tiny("qwen2_untied_bf16", detect_cpu_isa()), prompt, params), one);
}

TEST(EngineSamplingTest, PaddingRowsAreNeverSampled) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  const GenerationResult result =
      answer(*engine, random_prompt(10, 12), {.temperature = 100, .max_tokens = 100, .ignore_eos = true});
  for (const int32_t id : result.token_ids) EXPECT_LT(id, 303);
}

TEST(EngineSamplingTest, TextArrivesInPiecesThatMakeTheWhole) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  std::string streamed;
  const SamplingParams params{.temperature = 2, .seed = 3, .max_tokens = 60, .ignore_eos = true};
  const GenerationResult result = answer(*engine, random_prompt(10, 13), params, [&](std::string_view text) {
    streamed += text;
    return true;
  });
  EXPECT_EQ(streamed, result.text);
}

TEST(EngineSamplingTest, CallbackEndsTheAnswer) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  const GenerationResult result = answer(*engine, random_prompt(10, 14), {.max_tokens = 60, .ignore_eos = true},
                                         [](std::string_view) { return false; });
  EXPECT_EQ(result.finish_reason, FinishReason::cancelled);
  EXPECT_LT(result.token_ids.size(), 60u);
}

TEST(EngineInfoTest, SaysWhatWasLoaded) {
  const auto engine =
      load_tiny("qwen2_tied_gguf_q8_0", CpuIsa::reference, {.num_threads = 1, .kv_type = KvCacheType::f32});
  const EngineInfo& info = engine->info();
  EXPECT_EQ(info.architecture, "qwen2");
  EXPECT_EQ(info.isa, "reference");
  EXPECT_EQ(info.kv_type, "f32");
  EXPECT_EQ(info.num_threads, 1);
  EXPECT_EQ(info.vocab_size, 320u);
  EXPECT_EQ(info.model_context_length, 128);
  EXPECT_EQ(info.context_length, 128);
  EXPECT_EQ(info.kv_bytes_per_token, 2u * 2 * (2 * 16 * 4 + 192 / 64)) << "2 layers, 2 heads of 16: K, V, bounds";
  EXPECT_NEAR(info.bits_per_weight, 8.5, 0.3);
}

TEST(EngineInfoTest, DefaultsOfSamplingAreTheCheckpoints) {
  const SamplingParams params = load_tiny("qwen2_tied", CpuIsa::reference)->default_sampling();
  EXPECT_FLOAT_EQ(params.temperature, 0.7f);
  EXPECT_FLOAT_EQ(params.top_p, 0.8f);
  EXPECT_EQ(params.top_k, 20);
  EXPECT_FLOAT_EQ(params.repetition_penalty, 1.05f);
}

}  // namespace

}  // namespace qwin
