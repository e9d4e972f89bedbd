// SPDX-License-Identifier: Apache-2.0
// `qwin summarize`: one answer over a long document.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <iterator>

#include "cli/progress_bar.h"
#include "cli/run.h"
#include "cli/terminal_output.h"
#include "hub/files.h"
#include "hub/interrupt.h"
#include "hub/model_store.h"
#include "io/json.h"
#include "qwin/document.h"
#include "server/openai_format.h"

namespace qwin {
namespace {

constexpr int kDefaultMaxTokens = 256;
// Nobody else waits for a step.
constexpr double kMaxStepSeconds = 0.6;

struct SummarizeOptions {
  RunOptions run;
  DocumentOptions document;
  std::string file;
  bool one_pass = false, split_only = false, no_journal = false;
  int max_batch_size = 16;
};

// Without --model: the only one there is.
std::string only_model() {
  const std::vector<LocalModel> models = list_models();
  if (models.size() == 1) return models.front().name;
  std::string names;
  for (const LocalModel& model : models) names += " " + model.name;
  throw Error(ErrorCode::invalid_argument, models.empty()
                                               ? "there is no model yet: qwin pull qwen2.5-coder-1.5b, or give --model"
                                               : "which of these models? give --model:" + names);
}

std::string document_text(const std::string& file) {
  if (file != "-") return read_document(file);
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

// $QWIN_HOME/documents, where an interrupted document finds its answers again.
std::string journal_folder() {
  const std::filesystem::path folder = store_home() / "documents";
  make_directories(folder);
  return folder.string();
}

Json segments_json(const std::vector<DocumentSegment>& segments) {
  Json list = Json::array();
  for (const DocumentSegment& segment : segments) {
    list.push_back({{"begin", segment.begin}, {"end", segment.end}, {"num_tokens", segment.num_tokens}});
  }
  return list;
}

Json result_json(const DocumentResult& result, DocumentMethod method) {
  return {{"text", result.text},
          {"method", document_method_name(method)},
          {"segments", segments_json(result.segments)},
          {"partial_answers", result.partial_answers},
          {"finish_reason", finish_reason_name(result.finish_reason)},
          {"prompt_tokens", result.prompt_tokens},
          {"cached_tokens", result.cached_tokens},
          {"completion_tokens", result.completion_tokens},
          {"attention", server::attention_json(result.attention)}};
}

DocumentResult answer(Engine& engine, SummarizeOptions& options, std::string text) {
  const bool json = options.run.model.json;
  ProgressBar bar("asking", "answers");
  const DocumentEvents events{.on_progress = [&](size_t done, size_t total) { bar.update(done, total); },
                              .on_text =
                                  [&](std::string_view shown) {
                                    if (json) return;
                                    bar.clear();
                                    std::fwrite(shown.data(), 1, shown.size(), stdout);
                                    std::fflush(stdout);
                                  }};
  const bool goes_on = !options.document.journal.empty();
  const InterruptGuard guard;
  try {
    return process_document(engine, std::move(text), std::move(options.document), events,
                            [] { return !is_interrupted(); });
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled || !goes_on) throw;
    throw Error(ErrorCode::cancelled, "stopped; the same command goes on where this one was");
  }
}

void summarize(SummarizeOptions& options) {
  DocumentOptions& document = options.document;
  document.system = options.run.system;
  sampling_params(SamplingParams{}, options.run);
  if (options.one_pass) document.method = DocumentMethod::one_pass;
  std::string text = document_text(options.file);
  if (options.run.model.model.empty()) options.run.model.model = only_model();
  EngineOptions engine_options = options.run.engine;
  engine_options.max_batch_size = options.max_batch_size;
  engine_options.max_step_seconds = kMaxStepSeconds;
  const auto engine = load_engine(options.run.model, engine_options, {});
  if (options.split_only) {
    const auto segments = split_document(*engine, text, document.segment_tokens, document.overlap);
    std::printf("%s\n", Json{{"segments", segments_json(segments)}}.dump().c_str());
    return;
  }
  SamplingParams& sampling = document.request.sampling;
  sampling = sampling_params(engine->default_sampling(), options.run);
  if (!options.run.max_tokens) sampling.max_tokens = std::max(kDefaultMaxTokens, sampling.min_tokens);
  if (!options.one_pass && !options.no_journal && document.journal.empty()) document.journal = journal_folder();
  if (options.one_pass && !options.run.model.attention_type.empty())
    document.request.attention_type = attention_type_of(options.run.model.attention_type);
  const DocumentMethod method = document.method;
  const DocumentResult result = answer(*engine, options, std::move(text));
  if (options.run.model.json) {
    std::printf("%s\n", result_json(result, method).dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
    return;
  }
  std::printf("\n");
  print_remark(std::to_string(result.segments.size()) + (result.segments.size() == 1 ? " segment, " : " segments, ") +
               std::to_string(result.prompt_tokens - result.cached_tokens) + " tokens read, " +
               std::to_string(result.cached_tokens) + " found in the cache, " +
               std::to_string(result.completion_tokens) + " written");
}

}  // namespace

void register_summarize(CLI::App& app) {
  const auto options = std::make_shared<SummarizeOptions>();
  CLI::App* command = app.add_subcommand("summarize", "Ask something of a long document: a summary, unless told else");
  command->add_option("FILE", options->file, "text, Markdown, .docx or PDF (with pdftotext); - reads stdin")
      ->required();
  DocumentOptions& document = options->document;
  add_option(*command, "--model", options->run.model.model, "a model file, folder or name; empty: the only one pulled");
  add_option(*command, "--instruction", document.instruction,
             "asked of every segment; empty: a summary, in the document's language");
  add_option(*command, "--reduce-instruction", document.reduce_instruction,
             "asked of the answers together; empty: made from the instruction");
  add_option(*command, "--segment-tokens", document.segment_tokens, "the longest segment");
  add_option(*command, "--overlap", document.overlap, "tokens that a segment repeats of the one before it");
  add_switch(*command, "--one-pass", options->one_pass, "read all of it in one prompt, with hybrid attention");
  add_switch(*command, "--raw", document.raw, "plain text instead of a chat, for models without a template");
  add_option(*command, "--max-batch-size", options->max_batch_size, "segments that are asked at once")
      ->check(CLI::Range(1, 1024));
  add_option(*command, "--journal", document.journal,
             "where answers over segments wait for an interrupted run to go on; empty: in $QWIN_HOME/documents");
  add_switch(*command, "--no-journal", options->no_journal, "keep nothing of an interrupted run");
  add_switch(*command, "--split", options->split_only, "print where the segments lie, as JSON, and stop");
  add_sampling_flags(*command, options->run);
  add_engine_flags(*command, options->run.model);
  add_kv_memory_flags(*command, options->run.engine);
  command->callback([options] { summarize(*options); });
}

}  // namespace qwin
