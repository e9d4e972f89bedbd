// SPDX-License-Identifier: Apache-2.0
// The order of measuring and what becomes of the samples.
#include <algorithm>

#include "bench/model_bench.h"
#include "bench/statistics.h"

namespace qwin {

namespace {

struct TestSamples {
  BenchResult test{};
  double tokens = 0;  // of one sample
  std::vector<double> rates{}, gb_s{}, gmacs{}, shares{};
};

std::vector<TestSamples> all_tests(const BenchPlan& plan) {
  std::vector<TestSamples> tests;
  const std::vector<int64_t> depths = plan.depths.empty() ? std::vector<int64_t>{0} : plan.depths;
  for (const int64_t depth : depths) {
    for (const int64_t prompt : plan.prompts) {
      tests.push_back({.test = {.test = BenchTest::prefill, .prompt = prompt, .depth = depth},
                       .tokens = static_cast<double>(prompt)});
    }
  }
  for (const int64_t depth : plan.depths) {
    for (const int64_t batch : plan.batches) {
      tests.push_back({.test = {.test = BenchTest::decode, .depth = depth, .batch = batch},
                       .tokens = static_cast<double>(batch * plan.new_tokens)});
    }
  }
  return tests;
}

std::string test_name(const BenchResult& test) {
  if (test.test == BenchTest::prefill)
    return "prefill " + std::to_string(test.prompt) + " at depth " + std::to_string(test.depth);
  return "decode at depth " + std::to_string(test.depth) + ", batch " + std::to_string(test.batch);
}

void add_sample(TestSamples& test, const ModelBench::Sample& sample, const MachineLimits& limits) {
  test.rates.push_back(test.tokens / sample.seconds);
  test.gb_s.push_back(sample.work.bytes / sample.seconds * 1e-9);
  test.gmacs.push_back(sample.work.macs / sample.seconds * 1e-9);
  const double of_int8 = test.gmacs.back() / limits.int8_gmacs, of_read = test.gb_s.back() / limits.read_gb_s;
  // Reading a prompt is arithmetic by nature; a step of writing is bound by whichever is nearer.
  test.test.bound_by_memory = test.test.test == BenchTest::decode && of_read >= of_int8;
  test.shares.push_back(test.test.bound_by_memory ? of_read : of_int8);
}

}  // namespace

BenchReport run_bench(ModelBench& bench, LimitMeter& meter, const BenchPlan& plan,
                      const std::function<void(const std::string&)>& on_test) {
  std::vector<TestSamples> tests = all_tests(plan);
  std::vector<double> int8, bf16, read;
  for (int round = 0; round < plan.rounds; ++round) {
    const std::string prefix = "round " + std::to_string(round + 1) + " of " + std::to_string(plan.rounds) + ": ";
    on_test(prefix + "limits");
    const MachineLimits limits = meter.measure();
    int8.push_back(limits.int8_gmacs), bf16.push_back(limits.bf16_gmacs), read.push_back(limits.read_gb_s);
    for (TestSamples& test : tests) {
      on_test(prefix + test_name(test.test));
      const bool prefill = test.test.test == BenchTest::prefill;
      add_sample(
          test,
          prefill ? bench.prefill(test.test.depth, test.test.prompt) : bench.decode(test.test.depth, test.test.batch),
          limits);
    }
  }
  BenchReport report{{median(int8), median(bf16), median(read)}, {}};
  for (TestSamples& test : tests) {
    test.test.tokens_per_second = median(test.rates);
    test.test.spread = spread(test.rates);
    test.test.gb_s = median(test.gb_s);
    test.test.gmacs = median(test.gmacs);
    test.test.limit_share = median(test.shares);
    report.results.push_back(test.test);
  }
  return report;
}

}  // namespace qwin
