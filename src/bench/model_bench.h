// SPDX-License-Identifier: Apache-2.0
// Prefill and decode of a model, timed beside the limits of the machine. Sequences are driven on the runner directly,
// so that nothing but the model is measured.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/machine_limits.h"
#include "bench/step_work.h"
#include "runner/runner.h"

namespace qwin {

struct BenchPlan {
  std::vector<int64_t> prompts{}, depths{}, batches{};
  int64_t new_tokens = 64;
  int rounds = 3;
  uint64_t seed = 0;  // of the token ids, which are random
  int64_t window = 0, num_sinks = 0;
  MemoryPlan memory = {};
  int64_t context_length = 0;  // no test may go beyond; 0: the model's own
};

enum class BenchTest { prefill, decode };

struct BenchResult {
  BenchTest test = BenchTest::prefill;
  int64_t prompt = 0, depth = 0, batch = 1;
  double tokens_per_second = 0;  // median of the rounds
  double spread = 0;             // (fastest - slowest) / median
  double gb_s = 0;               // bytes the work must read at least, a second
  double gmacs = 0;              // of linear layers
  double limit_share = 0;        // of int8_gmacs or read_gb_s, as measured in the same round; median
  bool bound_by_memory = false;  // which of the two
};

struct BenchReport {
  MachineLimits limits;  // medians of the rounds
  std::vector<BenchResult> results;
};

// One loaded model with pages for every sequence of a plan. Not thread-safe.
class ModelBench {
 public:
  // Throws Error: does_not_fit before anything large is allocated, invalid_argument for a plan the model cannot run,
  // and as Runner does.
  ModelBench(const ModelFiles& files, const RunnerOptions& options, const BenchPlan& plan, const LoadProgress& on_load);

  // Puts random tokens into every sequence, as deep as the plan goes. Called once, before anything at a depth.
  void fill(const std::function<void(int64_t done, int64_t total)>& on_tokens);

  struct Sample {
    double seconds = 0;
    Work work;
  };
  // Reads `prompt` tokens after `depth` others in chunks, as the engine does, and asks for the last one's logits.
  Sample prefill(int64_t depth, int64_t prompt);
  // Writes plan.new_tokens tokens in each of `batch` sequences, whose context is `depth` tokens deep, all in one step.
  Sample decode(int64_t depth, int64_t batch);

  const ModelConfig& config() const { return config_; }
  const ModelWork& work() const { return work_; }
  const char* kernels_name() const { return runner_->kernels_name(); }

 private:
  // Keys whose K and V are read for `num_tokens` tokens up to this position.
  int64_t keys_read(int64_t position, int64_t num_tokens) const;
  // Runs tokens [begin, end) of the first sequence.
  void read(int64_t begin, int64_t end);
  void step(int64_t position, int64_t batch);
  QueryRange range(size_t sequence, int64_t position, size_t first_row, size_t num_tokens) const;

  const BenchPlan plan_;
  const ModelConfig config_;
  ModelWork work_;
  std::unique_ptr<Runner> runner_;
  std::vector<std::vector<int32_t>> sequences_;  // page ids of each
  std::vector<int32_t> prompt_;                  // the random tokens, as many as the longest test needs
  std::vector<int32_t> next_tokens_;             // [max batch]
  Batch batch_;
};

// The rounds: limits first, then every test, `plan.rounds` times. `on_test` hears what comes next.
BenchReport run_bench(ModelBench& bench, LimitMeter& meter, const BenchPlan& plan,
                      const std::function<void(const std::string&)>& on_test);

}  // namespace qwin
