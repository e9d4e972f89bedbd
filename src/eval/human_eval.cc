// SPDX-License-Identifier: Apache-2.0
#include "eval/human_eval.h"

#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>

namespace qwin {
namespace {

constexpr int kMaxAnswerTokens = 768;
constexpr std::string_view kAnswerBegins =
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:\n"
    "```python\n";

std::string json_string(std::string_view text) {
  std::string out = "\"";
  char escaped[8];
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\', out += c;
    } else if (static_cast<unsigned char>(c) < ' ') {
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string stripped(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\n"), end = text.find_last_not_of(" \t\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

// The question, and the answer's first words.
std::vector<int32_t> prompt_ids(const Engine& engine, const HumanEvalProblem& problem) {
  const std::string question =
      "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
      "```\n" +
      stripped(problem.prompt) + "\n```\n";
  std::vector<int32_t> ids = engine.tokenize_chat(R"([{"role":"user","content":)" + json_string(question) + "}]");
  const std::vector<int32_t> begins = engine.tokenize(kAnswerBegins, false);
  ids.insert(ids.end(), begins.begin(), begins.end());
  return ids;
}

// Results of many requests, which the engine's thread brings.
class Answers {
 public:
  Answers(size_t count, EvalProgress progress) : texts_(count), progress_(std::move(progress)) {}

  RequestEvents events(size_t index) {
    return {.on_output = {}, .on_end = [this, index](GenerationResult result, std::exception_ptr error) {
              const std::lock_guard lock(mutex_);
              if (error && !error_) error_ = error;
              texts_[index] = std::move(result.text);
              ++done_;
              changed_.notify_one();
            }};
  }

  // All of the first `count` requests have ended.
  void wait(size_t count) {
    std::unique_lock lock(mutex_);
    for (size_t seen = 0; seen < count; seen = done_) {
      changed_.wait(lock, [&] { return done_ > seen; });
      if (progress_) progress_(static_cast<int64_t>(done_), static_cast<int64_t>(texts_.size()));
    }
  }

  std::vector<std::string> take() {
    if (error_) std::rethrow_exception(error_);
    return std::move(texts_);
  }

 private:
  std::vector<std::string> texts_;
  const EvalProgress progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t done_ = 0;
  std::exception_ptr error_;
};

}  // namespace

std::vector<std::string> answer_problems(Engine& engine, std::span<const HumanEvalProblem> problems,
                                         const EvalProgress& progress) {
  Answers answers(problems.size(), progress);
  size_t submitted = 0;
  try {
    for (; submitted < problems.size(); ++submitted) {
      Request request{.prompt = prompt_ids(engine, problems[submitted])};
      request.sampling.max_tokens = kMaxAnswerTokens;
      request.sampling.stop = {"\n```"};
      engine.submit(std::move(request), answers.events(submitted));
    }
  } catch (...) {
    answers.wait(submitted);  // their events have it
    throw;
  }
  answers.wait(submitted);
  return answers.take();
}

std::string check_program(const HumanEvalProblem& problem, const std::string& answer) {
  return problem.prompt + "\n" + answer + "\n\n" + problem.test + "\n\ncheck(" + problem.entry_point + ")\n";
}

}  // namespace qwin
