// SPDX-License-Identifier: Apache-2.0
#include "eval/human_eval.h"

#include <gtest/gtest.h>

namespace qwin {
namespace {

TEST(HumanEvalTest, AProgramIsPromptAnswerTestAndCall) {
  const HumanEvalProblem problem{
      .task_id = "T/0",
      .prompt = "import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n",
      .entry_point = "f",
      .test = "def check(candidate):\n    assert candidate(1) == 1\n",
  };
  EXPECT_EQ(check_program(problem, "def f(x):\n    return x"),
            "import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n\ndef f(x):\n    return x\n\n"
            "def check(candidate):\n    assert candidate(1) == 1\n\n\ncheck(f)\n");
}

TEST(HumanEvalTest, TheRunnerIsWholeAndPython) {
  EXPECT_TRUE(human_eval_runner().starts_with("#") || human_eval_runner().starts_with("\"\"\""));
  EXPECT_TRUE(human_eval_runner().ends_with("(*sys.argv[2:])\n"));
  EXPECT_NE(human_eval_runner().find("\"\\\\n\" + word"), std::string_view::npos);  // no escape is lost on the way
}

}  // namespace
}  // namespace qwin
