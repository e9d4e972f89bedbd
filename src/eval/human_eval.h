// SPDX-License-Identifier: Apache-2.0
// HumanEval (arXiv 2107.03374): Python functions from their descriptions. Here a model's answers; what runs them is
// human_eval_runner.py.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/divergence.h"
#include "qwin/engine.h"

namespace qwin {

struct HumanEvalProblem {
  std::string task_id, prompt, entry_point, test;
};

// One answer a problem, greedy, all of them in the engine's batch: the code block that the model writes when it is
// asked as Qwen's own evaluation of its instruct models asks (EvalPlus's chat prompt). `progress` hears answers done
// and in all. Throws Error as Engine::submit() does, and the first one that a request ended with.
std::vector<std::string> answer_problems(Engine& engine, std::span<const HumanEvalProblem> problems,
                                         const EvalProgress& progress);

// The problem's prompt (its imports and helpers; a function of this name in the answer replaces the one announced
// there, an answer without one continues it), the answer, the test, and its call.
std::string check_program(const HumanEvalProblem& problem, const std::string& answer);

// The source of human_eval_runner.py, which says how it is called.
std::string_view human_eval_runner();

}  // namespace qwin
