// SPDX-License-Identifier: Apache-2.0
// Attention plans through the whole engine: answers with memory do not depend on the batch, on chunks, threads, rungs,
// memory pressure, the cache or a restart, plans never mix, and what contradicts itself is refused. All of it also with
// dual-chunk attention.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <string>
#include <thread>

#include "engine/tiny_models.h"

namespace qwin {
namespace {

// The most bytes that this process has mapped of nameless files in a folder while it lives.
class MostMapped {
 public:
  explicit MostMapped(const std::filesystem::path& folder)
      : thread_([this, folder] {
          while (!ends_) {
            most_ = std::max(most_, mapped(folder));
            std::this_thread::sleep_for(std::chrono::microseconds(200));
          }
        }) {}
  ~MostMapped() { end(); }
  uint64_t end() {
    ends_ = true;
    if (thread_.joinable()) thread_.join();
    return most_;
  }

 private:
  static uint64_t mapped(const std::filesystem::path& folder) {
    std::ifstream maps("/proc/self/smaps");
    uint64_t kib = 0;
    bool is_in_folder = false;
    for (std::string line; std::getline(maps, line);) {
      if (line.find('/') != std::string::npos) {
        is_in_folder = line.find(folder.string() + "/") != std::string::npos && line.ends_with(" (deleted)");
      } else if (is_in_folder && line.starts_with("Rss:")) {
        kib += std::stoull(line.substr(4));
      }
    }
    return kib * 1024;
  }

  std::atomic<bool> ends_ = false;
  uint64_t most_ = 0;
  std::thread thread_;
};

// A tiny model that says it was trained for 2,048 tokens: long enough for something to leave a window of a page. The
// parameter: more of its configuration.
class HybridTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::filesystem::copy(tiny_path("qwen2_tied"), model_);
    write_config(2048);
    // Two layers of two KV heads.
    std::ofstream(model_ / "qwin_heads.json")
        << R"({"version":1,"num_layers":2,"num_kv_heads":2,"lost":[[0.1,0.4],[0.3,0.2]]})";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write_config(int max_positions) const {
    std::string config = read_bytes(tiny_path("qwen2_tied") + "/config.json");
    const std::string name = "\"max_position_embeddings\": ", old = name + "128";
    ASSERT_NE(config.find(old), std::string::npos);
    config.replace(config.find(old), old.size(), name + std::to_string(max_positions) + GetParam());
    std::ofstream(model_ / "config.json") << config;
  }

  std::unique_ptr<Engine> load(EngineOptions options = {}, CpuIsa isa = detect_cpu_isa()) const {
    const CpuIsaScope scope(isa);
    if (options.num_threads == 0) options.num_threads = 1;
    if (options.kv_memory_bytes == 0) options.kv_memory_bytes = 64 << 20;
    options.hybrid_from = 0;
    return Engine::load(model_, options);
  }

  // Prompts that share beginnings, under every kind of plan.
  static std::vector<Request> requests(size_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<Request> requests(count);
    for (size_t i = 0; i < count; ++i) {
      Request& request = requests[i];
      if (i > 0 && random() % 3 > 0) {
        request.prompt = requests[random() % i].prompt;
        request.prompt.resize(1 + random() % request.prompt.size());
      }
      const size_t size = 200 + random() % 500;
      while (request.prompt.size() < size) request.prompt.push_back(static_cast<int32_t>(random() % 300));
      request.sampling = {.temperature = 1.0f, .seed = random(), .max_tokens = 12, .ignore_eos = true, .logprobs = 1};
      if (random() % 5 == 0) {
        request.attention_type = AttentionType::sliding_window;
        request.window = 100;
      } else if (random() % 4 > 0) {
        request.attention_type = AttentionType::hybrid;
        request.window = 64 + random() % 2 * 36;
        request.num_sink_tokens = random() % 2 * 4;
        request.memory_top_k = 3 + random() % 2 * 4;
        if (random() % 3 == 0) request.global.spans = {{20, 23}, {100, 100 + 1 + static_cast<int64_t>(random() % 70)}};
        if (random() % 3 == 0) request.global_heads = 1 + static_cast<int64_t>(random() % 3);
        if ((!request.global.spans.empty() || request.global_heads) && random() % 2 == 0) request.memory_top_k = 0;
      }
    }
    return requests;
  }

  static std::string shown(const GenerationResult& result) {
    std::string text = result.text;
    for (size_t i = 0; i < result.token_ids.size(); ++i) {
      text += " " + std::to_string(result.token_ids[i]) + ":" +
              std::to_string(std::bit_cast<uint32_t>(result.logprobs[i].chosen.logprob));
    }
    return text;
  }
  static std::vector<std::string> one_by_one(Engine& engine, const std::vector<Request>& requests) {
    std::vector<std::string> answers;
    for (const Request& request : requests) answers.push_back(shown(engine.generate(request)));
    return answers;
  }
  static std::vector<std::string> together(Engine& engine, const std::vector<Request>& requests) {
    std::vector<std::promise<std::string>> promises(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      engine.submit(requests[i], {.on_end = [&promises, i](const GenerationResult& result, const std::exception_ptr&) {
                      promises[i].set_value(shown(result));
                    }});
    }
    std::vector<std::string> answers;
    for (auto& promise : promises) answers.push_back(promise.get_future().get());
    return answers;
  }

  ErrorCode code_of(const Request& request) {
    try {
      load()->generate(request);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::broken;
  }

  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("qwin_hybrid_" + std::to_string(::getpid()));
  const std::filesystem::path model_ = (std::filesystem::create_directories(directory_), directory_ / "model");
};

TEST_P(HybridTest, MixedPlansInABatchAnswerAsAlone) {
  const std::vector<Request> all = requests(24, 1);
  const std::vector<std::string> alone = one_by_one(*load({.max_batch_size = 1, .prefix_cache = false}), all);
  for (const int threads : {1, 2}) {
    const auto engine = load({.num_threads = threads, .max_batch_size = 8});
    EXPECT_EQ(together(*engine, all), alone);
    EXPECT_EQ(one_by_one(*engine, all), alone) << "from the cache";
    EXPECT_GT(engine->stats().prefix_cache_hit_tokens, 0u);
    EXPECT_EQ(engine->stats().kv_pages_used, 0);
  }
}

TEST_P(HybridTest, EveryRungGivesTheSameBits) {
  const std::vector<Request> all = requests(4, 2);
  const std::vector<std::string> expected = one_by_one(*load({}, CpuIsa::reference), all);
  for (const CpuIsa isa : {CpuIsa::avx2, CpuIsa::avx512, CpuIsa::avx512_vnni}) {
    if (isa > detect_cpu_isa()) continue;
    EXPECT_EQ(one_by_one(*load({}, isa), all), expected) << cpu_isa_name(isa);
  }
}

TEST_P(HybridTest, TooFewPagesCostTimeAndNoAnswer) {
  const std::vector<Request> all = requests(10, 3);
  const std::vector<std::string> alone = one_by_one(*load({.max_batch_size = 1, .prefix_cache = false}), all);
  const uint64_t page = load()->info().kv_bytes_per_token * 64;
  const auto cramped = load({.context_length = 768, .kv_memory_bytes = 14 * page, .max_batch_size = 6});
  EXPECT_EQ(together(*cramped, all), alone);
  EXPECT_GT(cramped->stats().preemptions, 0u);
}

// More K and V than may be in memory: what is given back is read again, the cache is larger, and no sequence waits.
TEST_P(HybridTest, KAndVOnADiskGiveTheSameBits) {
  const std::vector<Request> all = requests(10, 3);
  const std::vector<std::string> alone = one_by_one(*load({.max_batch_size = 1, .prefix_cache = false}), all);
  const uint64_t page = load()->info().kv_bytes_per_token * 64;
  const std::filesystem::path disk = std::filesystem::current_path();  // the build's folder
  for (const KvCacheType kv_type : {KvCacheType::f16, KvCacheType::q8}) {
    const std::vector<std::string> expected =
        kv_type == KvCacheType::f16 ? alone : one_by_one(*load({.kv_type = kv_type}), all);
    const auto engine =
        load({.kv_type = kv_type, .kv_memory_bytes = 14 * page, .kv_directory = disk, .max_batch_size = 6});
    EXPECT_EQ(engine->info().kv_memory_bytes, 14 * page);
    EXPECT_GE(engine->info().kv_disk_bytes, 6 * 32 * engine->info().kv_bytes_per_token * 64);
    EXPECT_EQ(together(*engine, all), expected);
    EXPECT_EQ(one_by_one(*engine, all), expected) << "from the cache";
    EXPECT_EQ(engine->stats().preemptions, 0u);
  }
  EXPECT_EQ(load({.kv_memory_bytes = 64 << 20, .kv_directory = disk, .max_batch_size = 6})->info().kv_disk_bytes, 0u)
      << "everything fits";
  EXPECT_THROW(load({.kv_directory = directory_ / "nowhere"}), Error);
}

TEST_P(HybridTest, ARestartReadsMemoryFromDisk) {
  const std::vector<Request> all = requests(8, 4);
  const std::vector<std::string> alone = one_by_one(*load({.prefix_cache = false}), all);
  const std::string cache = directory_ / "cache";
  EXPECT_EQ(one_by_one(*load({.cache_directory = cache}), all), alone);
  const auto restarted = load({.cache_directory = cache});
  EXPECT_EQ(one_by_one(*restarted, all), alone);
  EXPECT_GT(restarted->stats().prefix_cache_hit_tokens, 8u * 128);
}

// While they come no step runs, so nothing else would give them back.
TEST_P(HybridTest, PagesOfTheCacheOnDiskCountTowardsMemory) {
  write_config(8192);
  Request request;
  for (int32_t i = 0; i < 8000; ++i) request.prompt.push_back(i * i % 251);
  request.sampling = {.max_tokens = 4, .logprobs = 1};
  request.attention_type = AttentionType::hybrid;
  request.window = 64;
  request.memory_top_k = 3;
  const std::filesystem::path disk = std::filesystem::current_path();  // the build's folder
  const auto start = [&] {
    return load({.kv_type = KvCacheType::f32,
                 .kv_memory_bytes = 512 << 10,
                 .kv_directory = disk,
                 .max_batch_size = 1,
                 .cache_directory = directory_ / "cache"});
  };
  const std::string expected = shown(start()->generate(request));
  const auto restarted = start();
  ASSERT_GT(restarted->info().kv_disk_bytes, 4u << 20);
  MostMapped most(disk);
  EXPECT_EQ(shown(restarted->generate(request)), expected);
  EXPECT_GT(restarted->stats().prefix_cache_hit_tokens, 7000u);
  EXPECT_GT(most.end(), 0u);
  EXPECT_LT(most.end(), restarted->info().kv_disk_bytes / 8 * 5) << "the answer itself reads a quarter: bounds";
}

// Reading everything by way of memory is exact attention, but for the order of sums; reading little of it is not.
TEST_P(HybridTest, MemoryChangesWhatIsSeen) {
  std::vector<int32_t> prompt = requests(1, 5)[0].prompt;
  prompt.resize(600, 7);
  EngineOptions options{.attention_type = AttentionType::hybrid, .window = 64, .num_sink_tokens = 0};
  const auto with = [&](int64_t top_k) {
    options.memory_top_k = top_k;
    return logits_of(*load(options), prompt);
  };
  const std::vector<float> exact = logits_of(*load(), prompt);
  EXPECT_LT(nmse(with(1000), exact), 1e-4);
  EXPECT_GT(nmse(with(1), exact), 1e-3);
  EXPECT_LT(nmse(with(12), exact), nmse(with(1), exact));
}

// Tokens that everyone sees stand for what memory would find: with all of them it is exact attention.
TEST_P(HybridTest, GlobalTokensAreSeenByAll) {
  std::vector<int32_t> prompt = requests(1, 5)[0].prompt;
  prompt.resize(600, 7);
  const auto engine = load();
  const auto logprobs = [&](Request request) {
    request.prompt = prompt;
    request.sampling = {.max_tokens = 1, .ignore_eos = true, .logprobs = 0};
    request.prompt_logprobs = true;
    std::vector<float> values;
    for (const TokenLogprobInfo& one : engine->generate(request).prompt_logprobs) values.push_back(one.chosen.logprob);
    return values;
  };
  const auto hybrid = [&](int64_t top_k, std::vector<TokenSpan> spans, int64_t heads = 0) {
    return logprobs({.prompt = {},
                     .attention_type = AttentionType::hybrid,
                     .window = 64,
                     .num_sink_tokens = 0,
                     .memory_top_k = top_k,
                     .global_heads = heads,
                     .global = {.spans = std::move(spans)}});
  };
  const std::vector<float> exact = logprobs({});
  EXPECT_LT(nmse(hybrid(0, {{0, 600}}), exact), 1e-6);
  EXPECT_GT(nmse(hybrid(0, {{0, 16}}), exact), 1e-3);
  EXPECT_LT(nmse(hybrid(2, {{0, 300}}), exact), nmse(hybrid(2, {}), exact));
  EXPECT_EQ(hybrid(1000, {{0, 600}}), hybrid(0, {{0, 600}})) << "what is found and global is read once";
  EXPECT_EQ(hybrid(1, {}, 4), exact) << "every head sees everything, bit for bit";
  EXPECT_NE(hybrid(1, {}, 2), exact);
}

TEST_P(HybridTest, PlansAreShownAndFaultsRefused) {
  const std::vector<int32_t> prompt(300, 7);
  const SamplingParams brief{.max_tokens = 2};
  const auto engine = load({.num_sink_tokens = 4});
  EXPECT_EQ(engine->info().attention, AttentionPlan{});
  const auto plan = [&](Request request) {
    request.prompt = prompt;
    request.sampling = brief;
    return engine->generate(request).attention;
  };
  EXPECT_EQ(plan({.prompt = {}}), AttentionPlan{});
  EXPECT_EQ(plan({.prompt = {}, .window = 80}),
            (AttentionPlan{.type = AttentionType::sliding_window, .window = 80, .num_sink_tokens = 4}));
  EXPECT_EQ(plan({.prompt = {}, .attention_type = AttentionType::hybrid}),
            (AttentionPlan{AttentionType::hybrid, 1024, 4, 384, 0}));
  EXPECT_EQ(plan({.prompt = {},
                  .attention_type = AttentionType::hybrid,
                  .window = 64,
                  .num_sink_tokens = 0,
                  .memory_top_k = 5}),
            (AttentionPlan{AttentionType::hybrid, 64, 0, 5, 0}));

  const std::vector<Request> wrong = {
      {.prompt = prompt, .attention_type = AttentionType::full, .window = 64},
      {.prompt = prompt, .num_sink_tokens = 4},
      {.prompt = prompt, .window = 64, .memory_top_k = 4},
      {.prompt = prompt, .attention_type = AttentionType::sliding_window, .window = 0},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .window = 63},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .memory_top_k = 0},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .num_sink_tokens = -1},
      {.prompt = prompt, .global_heads = 1},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global_heads = 5},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global_heads = -1},
      {.prompt = prompt, .global = {.spans = {{0, 1}}}},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global = {.spans = {{0, 301}}}},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global = {.spans = {{5, 5}}}},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global = {.texts = {"not there"}}},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global = {.texts = {""}}},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global = {.system = true}},
      {.prompt = prompt, .attention_type = AttentionType::hybrid, .global = {.question = true}},
  };
  for (size_t i = 0; i < wrong.size(); ++i) EXPECT_EQ(code_of(wrong[i]), ErrorCode::invalid_argument) << i;
  EXPECT_THROW(load({.attention_type = AttentionType::full, .window = 64}), Error);
  EXPECT_THROW(load({.attention_type = AttentionType::hybrid, .window = 32}), Error);
  EXPECT_THROW(load({.attention_type = AttentionType::hybrid, .window = 0}), Error) << "0 is exact attention";
  EXPECT_THROW(load({.attention_type = AttentionType::sliding_window, .window = 0}), Error);
  EXPECT_THROW(attention_type_of("sparse"), Error);
  EXPECT_THROW(overflow_policy_of("truncate"), Error);
}

TEST_P(HybridTest, GlobalHeadsNeedAFileThatFits) {
  std::ofstream(model_ / "qwin_heads.json") << R"({"version":1,"num_layers":3,"num_kv_heads":2,"lost":[]})";
  EXPECT_THROW(load(), Error) << "of another model";
  std::ofstream(model_ / "qwin_heads.json") << "{";
  EXPECT_THROW(load(), Error);
  std::filesystem::remove(model_ / "qwin_heads.json");
  EXPECT_NO_THROW(load());
  EXPECT_THROW(load({.attention_type = AttentionType::hybrid, .global_heads = 1}), Error);
  EXPECT_EQ(code_of({.prompt = {1, 2}, .attention_type = AttentionType::hybrid, .global_heads = 1}),
            ErrorCode::invalid_argument);
}

// What a window would forget is not to be forgotten.
TEST_P(HybridTest, GlobalTokensDoNotOverflowIntoAWindow) {
  EXPECT_EQ(code_of({.prompt = std::vector<int32_t>(2100, 7),
                     .attention_type = AttentionType::hybrid,
                     .global = {.spans = {{0, 10}}},
                     .overflow_policy = OverflowPolicy::window}),
            ErrorCode::context_length_exceeded);
}

// Memory forgets nothing, so it ends with the context; a window need not.
TEST_P(HybridTest, APromptBeyondTheContextIsRefusedOrReadWithAWindow) {
  Request request{.prompt = std::vector<int32_t>(2100, 7), .sampling = {.max_tokens = 3, .ignore_eos = true}};
  for (const auto type : {AttentionType::full, AttentionType::hybrid}) {
    request.attention_type = type;
    request.overflow_policy = {};
    EXPECT_EQ(code_of(request), ErrorCode::context_length_exceeded);
    request.overflow_policy = OverflowPolicy::window;
    const GenerationResult result = load({.num_sink_tokens = 4})->generate(request);
    EXPECT_EQ(result.attention.type, AttentionType::sliding_window);
    EXPECT_EQ(result.attention.window, 1024);
    EXPECT_EQ(result.token_ids.size(), 3u);
  }
  request.prompt.resize(100);
  EXPECT_EQ(load()->generate(request).attention.type, AttentionType::hybrid) << "it fits";
}

INSTANTIATE_TEST_SUITE_P(Models, HybridTest,
                         testing::Values("", R"(, "dual_chunk_attention_config": {"chunk_size": 256, "local_size": 64,
                                               "original_max_position_embeddings": 300})"),
                         [](const auto& info) { return std::string(info.index == 0 ? "plain" : "dual_chunk"); });

}  // namespace
}  // namespace qwin
