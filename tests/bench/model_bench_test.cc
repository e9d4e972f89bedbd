// SPDX-License-Identifier: Apache-2.0
#include "bench/model_bench.h"

#include <gtest/gtest.h>

#include "core/cpu_info.h"
#include "qwin/error.h"

namespace qwin {

namespace {

class ModelBenchTest : public testing::Test {
 protected:
  ModelBench load(const BenchPlan& plan) const { return {files_, options_, plan, {}}; }
  static std::string refusal(ErrorCode code, const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      return error.what();
    }
    ADD_FAILURE() << "not refused";
    return "";
  }

  const ModelFiles files_ = open_model_files(std::string(QWIN_TESTDATA) + "/tiny/qwen2_tied_gguf_q8_0/model.gguf");
  const RunnerOptions options_{.isa = choose_cpu_isa(), .num_threads = 1, .cores = {}, .kv_type = KvType::f16};
};

TEST_F(ModelBenchTest, EveryTestIsReportedInOrderWithItsWork) {
  const BenchPlan plan{.prompts = {5, 40}, .depths = {0, 65}, .batches = {1, 3, 20}, .new_tokens = 2, .rounds = 3};
  ModelBench bench = load(plan);
  bench.fill([](int64_t, int64_t) {});
  LimitMeter meter(options_.isa, 1, {});
  std::vector<std::string> heard;
  const BenchReport report = run_bench(bench, meter, plan, [&](const std::string& text) { heard.push_back(text); });

  ASSERT_EQ(report.results.size(), 2u * 2 + 2 * 3);
  EXPECT_EQ(heard.size(), 3 * (1 + report.results.size()));
  EXPECT_EQ(report.results[1].prompt, 40);
  EXPECT_EQ(report.results[3].depth, 65);
  EXPECT_EQ(report.results[9].depth, 65);
  EXPECT_EQ(report.results[9].batch, 20);
  EXPECT_GT(report.limits.int8_gmacs, 0);
  EXPECT_GT(report.limits.bf16_gmacs, 0);
  EXPECT_GT(report.limits.read_gb_s, 0);
  for (const BenchResult& r : report.results) {
    EXPECT_GT(r.tokens_per_second, 0);
    EXPECT_GE(r.spread, 0);
    EXPECT_GT(r.limit_share, 0);
    EXPECT_FALSE(r.test == BenchTest::prefill && r.bound_by_memory);
  }
}

TEST_F(ModelBenchTest, ASamplesWorkIsThatOfItsSteps) {
  const BenchPlan plan{.prompts = {100}, .depths = {0, 10}, .batches = {2}, .new_tokens = 3};
  ModelBench bench = load(plan);
  bench.fill([](int64_t, int64_t) {});
  const Work reading = step_work(bench.work(), 100, 1, 100);
  EXPECT_EQ(bench.prefill(0, 100).work.macs, reading.macs);
  EXPECT_EQ(bench.prefill(0, 100).work.bytes, reading.bytes);
  EXPECT_EQ(bench.prefill(10, 20).work.bytes, step_work(bench.work(), 20, 1, 30).bytes);
  Work writing;
  for (const int64_t keys : {12, 13, 14}) writing += step_work(bench.work(), 2, 2, 2 * keys);
  EXPECT_EQ(bench.decode(10, 2).work.bytes, writing.bytes);
}

TEST_F(ModelBenchTest, WhatTheModelCannotRunIsRefusedBeforeLoading) {
  const auto refused = [&](ErrorCode code, const BenchPlan& plan) { return refusal(code, [&] { load(plan); }); };
  EXPECT_NE(refused(ErrorCode::invalid_argument, {.prompts = {1 << 20}}).find("1048576"), std::string::npos);
  EXPECT_NE(refused(ErrorCode::invalid_argument, {.prompts = {17}, .context_length = 16}).find("16"),
            std::string::npos);
  EXPECT_NE(refused(ErrorCode::invalid_argument, {.prompts = {1}, .depths = {0}, .batches = {257}}).find("256"),
            std::string::npos);
}

}  // namespace

}  // namespace qwin
