// SPDX-License-Identifier: Apache-2.0
// Many requests at once on a real (tiny) model: every answer is the one of a lone run, bit for bit; whoever leaves
// gives back what it held.
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <random>
#include <thread>

#include "engine/tiny_models.h"

namespace qwin {
namespace {

// One request's events, in the order they came.
class Collector {
 public:
  RequestEvents events() {
    return {.on_output =
                [this](const Output& output) {
                  const std::lock_guard lock(mutex_);
                  EXPECT_FALSE(ended_) << "an output after the end";
                  text_ += output.text;
                  num_tokens_ += output.token_ids.size();
                  changed_.notify_all();
                },
            .on_end =
                [this](GenerationResult result, const std::exception_ptr& error) {
                  const std::lock_guard lock(mutex_);
                  EXPECT_FALSE(ended_) << "a second end";
                  ended_ = true;
                  result_ = std::move(result);
                  error_ = error;
                  changed_.notify_all();
                }};
  }
  const GenerationResult& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
    return result_;
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || num_tokens_ >= count; });
  }
  size_t num_tokens() {
    const std::lock_guard lock(mutex_);
    return num_tokens_;
  }
  std::optional<ErrorCode> error_code() {
    wait();
    if (!error_) return std::nullopt;
    try {
      std::rethrow_exception(error_);
    } catch (const Error& error) {
      return error.code();
    }
  }
  std::string text() {
    wait();
    return text_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::string text_;
  size_t num_tokens_ = 0;
  GenerationResult result_;
  std::exception_ptr error_;
};

void expect_same_answer(const GenerationResult& a, const GenerationResult& b) {
  EXPECT_EQ(a.token_ids, b.token_ids);
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.finish_reason, b.finish_reason);
  ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    EXPECT_EQ(std::memcmp(&a.logprobs[i].chosen, &b.logprobs[i].chosen, sizeof(TokenProbability)), 0) << "token " << i;
  }
}

std::vector<Request> random_requests(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Request> requests(count);
  for (size_t i = 0; i < count; ++i) {
    Request& request = requests[i];
    if (i > 0 && random() % 2 == 0) {
      request.prompt = requests[random() % i].prompt;
      request.prompt.resize(1 + random() % request.prompt.size());
    }
    for (size_t n = 1 + random() % 30; n > 0; --n) request.prompt.push_back(static_cast<int32_t>(random() % 300));
    if (request.prompt.size() > 90) request.prompt.resize(90);
    request.sampling = {.temperature = random() % 2 == 0 ? 0.0f : 1.3f,
                        .seed = random(),
                        .max_tokens = 1 + static_cast<int>(random() % 30),
                        .ignore_eos = random() % 2 == 0,
                        .logprobs = 2};
    if (random() % 3 == 0) request.window = 16 + static_cast<int64_t>(random() % 64);
    request.client = std::string(1, static_cast<char>('a' + random() % 3));
    request.cache_salt = random() % 4 == 0 ? "other" : "";
  }
  return requests;
}

void expect_idle(const Engine& engine) {
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.requests_running + stats.requests_waiting + stats.requests_held, 0);
  EXPECT_EQ(stats.kv_pages_used, 0);
}

class BatchTest : public testing::TestWithParam<const char*> {};

TEST_P(BatchTest, AnswersEqualThoseOfLoneRuns) {
  const auto alone = load_tiny(GetParam(), detect_cpu_isa(), {.num_sink_tokens = 4, .prefix_cache = false});
  const std::vector<Request> requests = random_requests(40, 1);
  std::vector<GenerationResult> expected;
  for (const Request& request : requests) expected.push_back(alone->generate(request));

  for (const int threads : {1, 2}) {
    const auto engine = load_tiny(GetParam(), detect_cpu_isa(), {.num_threads = threads, .num_sink_tokens = 4});
    std::vector<Collector> collectors(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) engine->submit(requests[i], collectors[i].events());
    for (size_t i = 0; i < requests.size(); ++i) {
      SCOPED_TRACE(i);
      expect_same_answer(collectors[i].wait(), expected[i]);
      EXPECT_EQ(collectors[i].text(), expected[i].text);
    }
    expect_idle(*engine);
    EXPECT_GT(engine->stats().prefix_cache_hit_tokens, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(TinyModels, BatchTest, testing::Values("qwen2_tied", "qwen2_windowed", "qwen3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(BatchMemoryTest, TooFewPagesCostTimeAndNoAnswer) {
  const auto roomy = load_tiny("qwen2_tied", detect_cpu_isa(), {.prefix_cache = false});
  const uint64_t page = roomy->info().kv_bytes_per_token * 64;
  const auto cramped = load_tiny("qwen2_tied", detect_cpu_isa(), {.context_length = 128, .kv_memory_bytes = 4 * page});
  ASSERT_EQ(cramped->stats().kv_pages_total, 4);
  std::vector<Request> requests = random_requests(12, 2);
  std::vector<Collector> collectors(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].window = 0;
    requests[i].prompt.resize(50, 7);
    requests[i].sampling.max_tokens = 30;
    requests[i].sampling.ignore_eos = true;
    cramped->submit(requests[i], collectors[i].events());
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(i);
    expect_same_answer(collectors[i].wait(), roomy->generate(requests[i]));
  }
  EXPECT_GT(cramped->stats().preemptions, 0u);
  expect_idle(*cramped);
}

const Request kLong{.prompt = {1, 2, 3}, .sampling = {.max_tokens = 100, .ignore_eos = true}};

// With a window there is no end.
const Request kEndless{.prompt = {1, 2, 3}, .sampling = {.ignore_eos = true}, .window = 16};

TEST(BatchEventsTest, CancelledRequestsEndOnceWhereverTheyAre) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), {.num_sink_tokens = 4, .max_batch_size = 3});
  std::vector<Collector> collectors(20);
  std::vector<RequestId> ids;
  for (Collector& collector : collectors) ids.push_back(engine->submit(kEndless, collector.events()));
  collectors[0].wait_for_tokens(3);
  for (const RequestId id : ids) engine->cancel(id);
  for (const RequestId id : ids) engine->cancel(id);
  for (Collector& collector : collectors) EXPECT_EQ(collector.wait().finish_reason, FinishReason::cancelled);
  expect_idle(*engine);
  EXPECT_EQ(engine->stats().requests_cancelled, 20u);
  engine->cancel(12345);
}

TEST(BatchEventsTest, HeldRequestStandsStillUntilItIsLetGo) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  Collector held, other;
  std::promise<void> asked;  // nothing is written before the request is held, however fast the model is
  RequestEvents events = held.events();
  events.on_output = [collect = events.on_output, ready = asked.get_future().share()](const Output& output) {
    ready.wait();
    collect(output);
  };
  const RequestId id = engine->submit(kLong, std::move(events));
  engine->hold(id, true);
  asked.set_value();
  engine->submit(kLong, other.events());
  const GenerationResult expected = other.wait();
  const size_t before = held.num_tokens();
  engine->generate(kLong);
  EXPECT_EQ(held.num_tokens(), before);
  EXPECT_LT(before, 100u);
  EXPECT_EQ(engine->stats().requests_running, 0);
  engine->hold(id, false);
  expect_same_answer(held.wait(), expected);
  expect_idle(*engine);
}

TEST(BatchEventsTest, LogprobsOfAStreamAreNotKept) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  Request request = kLong;
  request.sampling.logprobs = 2;
  const GenerationResult whole = engine->generate(request);
  ASSERT_EQ(whole.logprobs.size(), 100u);
  request.keeps_logprobs = false;
  GenerationResult streamed;
  std::vector<TokenLogprobInfo> brought;
  std::promise<void> ended;
  engine->submit(request, {.on_output =
                               [&](const Output& output) {
                                 brought.insert(brought.end(), output.logprobs.begin(), output.logprobs.end());
                               },
                           .on_end =
                               [&](GenerationResult result, const std::exception_ptr&) {
                                 streamed = std::move(result);
                                 ended.set_value();
                               }});
  ended.get_future().wait();
  EXPECT_TRUE(std::exchange(streamed.logprobs, std::move(brought)).empty());
  expect_same_answer(streamed, whole);
}

TEST(BatchEventsTest, RequestsBeyondTheQueueAreRefusedTheOthersServed) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), {.max_batch_size = 1, .max_queue_length = 3});
  std::vector<Collector> collectors(12);
  int refused = 0;
  std::vector<Collector*> accepted;
  for (Collector& collector : collectors) {
    try {
      engine->submit(kLong, collector.events());
      accepted.push_back(&collector);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::queue_full);
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GE(accepted.size(), 4u);
  for (Collector* collector : accepted) EXPECT_EQ(collector->wait().token_ids.size(), 100u);
  expect_idle(*engine);
}

TEST(BatchEventsTest, LateRequestEndsWithAnErrorAndTheRestGoesOn) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), {.max_batch_size = 1});
  Collector first, late;
  engine->submit(kLong, first.events());
  Request hurried = kLong;
  hurried.timeout_seconds = 1e-6;
  engine->submit(hurried, late.events());
  EXPECT_EQ(late.error_code(), ErrorCode::timed_out);
  EXPECT_EQ(first.wait().token_ids.size(), 100u);
  expect_idle(*engine);
}

TEST(BatchEventsTest, ClosingTheEngineEndsEveryRequest) {
  std::vector<Collector> collectors(5);
  {
    const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), {.max_batch_size = 2});
    for (Collector& collector : collectors) engine->submit(kLong, collector.events());
    collectors[0].wait_for_tokens(1);
  }
  for (Collector& collector : collectors) EXPECT_FALSE(collector.error_code());
}

TEST(BatchEventsTest, ThreadsMayAskAtOnce) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), {.num_threads = 2});
  const GenerationResult expected = engine->generate(kLong);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) expect_same_answer(engine->generate(kLong), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_idle(*engine);
}

class DiskCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/cacheXXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    options_.cache_directory = name;
  }
  void TearDown() override { std::filesystem::remove_all(options_.cache_directory); }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(options_.cache_directory))
      paths.push_back(entry.path());
    return paths;
  }

  EngineOptions options_;
};

TEST_F(DiskCacheTest, AnswersAfterARestartAreTheSameAndThePromptIsNotReadAgain) {
  const auto plain = load_tiny("qwen2_tied", detect_cpu_isa(), {.num_sink_tokens = 4, .prefix_cache = false});
  options_.num_sink_tokens = 4;
  std::vector<Request> requests = random_requests(20, 3);
  for (int round = 0; round < 3; ++round) {
    const auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), options_);
    for (const Request& request : requests) {
      const GenerationResult result = engine->generate(request);
      expect_same_answer(result, plain->generate(request));
      if (round > 0) {
        EXPECT_EQ(result.cached_tokens, static_cast<int64_t>(request.prompt.size()) - 1);
      }
    }
    EXPECT_TRUE(engine->stats().prefix_cache_rejected.empty());
    EXPECT_EQ(engine->stats().prefix_cache_write_errors, 0u);
  }
}

TEST_F(DiskCacheTest, OtherModelsAndKvTypesFindNothing) {
  const Request request{.prompt = std::vector<int32_t>(100, 7), .sampling = {.max_tokens = 2}};
  load_tiny("qwen2_tied", detect_cpu_isa(), options_)->generate(request);
  EXPECT_EQ(load_tiny("qwen2_tied", detect_cpu_isa(), options_)->generate(request).cached_tokens, 99);
  options_.kv_type = KvCacheType::f32;
  EXPECT_EQ(load_tiny("qwen2_tied", detect_cpu_isa(), options_)->generate(request).cached_tokens, 0);
  options_.kv_type = KvCacheType::f16;
  EXPECT_EQ(load_tiny("qwen2_untied_bf16", detect_cpu_isa(), options_)->generate(request).cached_tokens, 0);
}

TEST_F(DiskCacheTest, RottenFilesNeverChangeAnAnswer) {
  std::mt19937 random(5);
  const std::vector<Request> requests = random_requests(6, 4);
  const auto plain = load_tiny("qwen2_tied", detect_cpu_isa(), {.prefix_cache = false});
  std::vector<GenerationResult> expected;
  for (const Request& request : requests) expected.push_back(plain->generate(request));
  uint64_t rejected = 0;
  for (int round = 0; round < 12; ++round) {
    auto engine = load_tiny("qwen2_tied", detect_cpu_isa(), options_);
    for (size_t i = 0; i < requests.size(); ++i) expect_same_answer(engine->generate(requests[i]), expected[i]);
    for (const auto& [reason, count] : engine->stats().prefix_cache_rejected) rejected += count;
    engine.reset();  // until then it may still be writing pages
    for (const std::filesystem::path& path : files()) {
      if (random() % 3 != 0) continue;
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(random() % std::filesystem::file_size(path)));
      file.put(static_cast<char>(random()));
    }
  }
  EXPECT_GT(rejected, 0u);
}

TEST(PromptLogprobsTest, EqualWhatTheLogitsSay) {
  const auto engine = load_tiny("qwen2_tied", detect_cpu_isa());
  Request request{
      .prompt = {5, 9, 200, 7, 7, 31}, .sampling = {.max_tokens = 1, .logprobs = 3}, .prompt_logprobs = true};
  engine->generate(request);  // now the cache knows the prompt: the logprobs must come all the same
  const GenerationResult result = engine->generate(request);
  ASSERT_EQ(result.prompt_logprobs.size(), 5u);
  const std::vector<float> logits = logits_of(*engine, request.prompt);
  const size_t vocab = engine->info().vocab_size;
  for (size_t i = 0; i < 5; ++i) {
    double sum = 0;
    for (size_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[i * vocab + v]));
    const TokenLogprobInfo& info = result.prompt_logprobs[i];
    EXPECT_EQ(info.chosen.token_id, request.prompt[i + 1]);
    EXPECT_NEAR(info.chosen.logprob, logits[i * vocab + static_cast<size_t>(info.chosen.token_id)] - std::log(sum),
                1e-4);
    ASSERT_EQ(info.top.size(), 3u);
    EXPECT_GE(info.top[0].logprob, info.chosen.logprob);
  }
}

}  // namespace
}  // namespace qwin
