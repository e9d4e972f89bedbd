// SPDX-License-Identifier: Apache-2.0
// `qwin bench`: how fast a model reads and writes on this machine, beside the machine's own limits.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "bench/model_bench.h"
#include "bench/tokenizer_bench.h"
#include "cli/engine_options.h"
#include "cli/progress_bar.h"
#include "cli/text_file.h"
#include "core/cpu_info.h"
#include "engine/attention_plan.h"
#include "hub/model_store.h"
#include "io/json.h"

namespace qwin {
namespace {

struct BenchOptions {
  ModelOptions model;
  BenchPlan plan{.prompts = {512, 4096}, .depths = {0, 8192}, .batches = {1, 8, 16}, .new_tokens = 64, .rounds = 3};
  bool roofline = false;
  std::vector<std::string> texts;  // for the tokenizer
};

struct TextResult {
  std::string file;
  TokenizerBenchResult result;
};

KvType kv_type_of(const std::string& name) {
  if (name == "f32") return KvType::f32;
  if (name == "f16") return KvType::f16;
  if (name == "q8") return KvType::q8;
  throw Error(ErrorCode::invalid_argument, "--kv-type " + name + " is unknown; use f16, q8 or f32");
}

// What is being measured, on one line of a terminal that is wiped at the end.
class StatusLine {
 public:
  ~StatusLine() { show(""); }
  void show(const std::string& text) const {
    if (terminal_) std::fprintf(stderr, "\r\033[K%s", text.c_str());
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
};

const char* test_name(const BenchResult& result) { return result.test == BenchTest::prefill ? "prefill" : "decode"; }

Json result_json(const BenchResult& r) {
  return {{"test", test_name(r)},
          {"prompt", r.prompt},
          {"depth", r.depth},
          {"batch", r.batch},
          {"tokens_per_second", r.tokens_per_second},
          {"spread", r.spread},
          {"gb_s", r.gb_s},
          {"gmacs", r.gmacs},
          {"limit_share", r.limit_share},
          {"limit", r.bound_by_memory ? "read_gb_s" : "int8_gmacs"}};
}

Json text_json(const TextResult& text) {
  const TokenizerBenchResult& r = text.result;
  return {{"file", text.file},
          {"bytes", r.bytes},
          {"pieces", r.pieces},
          {"tokens", r.tokens},
          {"pretokenize_mb_s", r.pretokenize_mb_s},
          {"encode_mb_s", r.encode_mb_s},
          {"spread", r.encode_spread}};
}

void print_json(const BenchReport& report, const std::vector<TextResult>& texts, CpuIsa isa, int threads) {
  Json results = Json::array();
  for (const BenchResult& result : report.results) results.push_back(result_json(result));
  Json document{{"machine", {{"cpu", cpu_name()}, {"isa", cpu_isa_name(isa)}, {"threads", threads}}},
                {"limits",
                 {{"int8_gmacs", report.limits.int8_gmacs},
                  {"bf16_gmacs", report.limits.bf16_gmacs},
                  {"read_gb_s", report.limits.read_gb_s}}},
                {"results", results}};
  for (const TextResult& text : texts) document["tokenizer"].push_back(text_json(text));
  std::printf("%s\n", document.dump().c_str());
}

void print_texts(const std::vector<TextResult>& texts) {
  std::printf("\ntext                         bytes   bytes a token   cut MB/s   encode MB/s  spread\n");
  for (const TextResult& text : texts) {
    const TokenizerBenchResult& r = text.result;
    std::printf("%-22s %11llu %15.2f %10.1f %13.1f %5.1f %%\n", text.file.c_str(),
                static_cast<unsigned long long>(r.bytes), static_cast<double>(r.bytes) / static_cast<double>(r.tokens),
                r.pretokenize_mb_s, r.encode_mb_s, 100 * r.encode_spread);
  }
}

void print_limits(const MachineLimits& limits, const LimitMeter& meter, CpuIsa isa, int threads) {
  std::printf("machine  %s, %s, %d thread%s\n", cpu_name().c_str(), std::string(cpu_isa_name(isa)).c_str(), threads,
              threads == 1 ? "" : "s");
  std::printf("limits   int8 %.0f GMAC/s (%s), bf16 %.0f GMAC/s (%s), memory read %.1f GB/s\n", limits.int8_gmacs,
              meter.int8_instruction(), limits.bf16_gmacs, meter.bf16_instruction(), limits.read_gb_s);
}

void print_results(const std::vector<BenchResult>& results) {
  std::printf("\ntest     prompt   depth  batch   tokens/s  spread    GB/s   GMAC/s  share of the limit\n");
  for (const BenchResult& r : results) {
    const std::string prompt = r.test == BenchTest::prefill ? std::to_string(r.prompt) : "-";
    std::printf("%-8s %6s %7lld %6lld %10.1f %5.1f %% %7.1f %8.1f  %3.0f %% of %s\n", test_name(r), prompt.c_str(),
                static_cast<long long>(r.depth), static_cast<long long>(r.batch), r.tokens_per_second, 100 * r.spread,
                r.gb_s, r.gmacs, 100 * r.limit_share, r.bound_by_memory ? "memory read" : "int8");
  }
}

std::unique_ptr<ModelBench> load_model(const ModelFiles& files, const BenchOptions& options,
                                       const RunnerOptions& runner_options) {
  ProgressBar bar("loading");
  auto bench = std::make_unique<ModelBench>(files, runner_options, options.plan,
                                            [&](uint64_t done, uint64_t total) { bar.update(done, total); });
  bar.clear();
  const ModelWork& work = bench->work();
  std::fprintf(stderr, "%s: %s of weights a step, kernels %s, KV %s, random tokens of seed %llu\n",
               bench->config().name.c_str(), bytes_text(work.block_bytes + work.head_bytes).c_str(),
               bench->kernels_name(), options.model.kv_type.c_str(),
               static_cast<unsigned long long>(options.plan.seed));
  return bench;
}

std::vector<TextResult> measure_texts(const BenchOptions& options) {
  if (options.texts.empty()) return {};
  const auto tokenizer = Tokenizer::load(open_model_files(resolve_model(options.model.model)));
  std::vector<TextResult> results;
  for (const std::string& path : options.texts) {
    const std::string text = read_text(path);
    if (text.empty()) throw Error(ErrorCode::invalid_argument, path + " is empty");
    results.push_back(
        {std::filesystem::path(path).filename().string(), bench_tokenizer(*tokenizer, text, options.plan.rounds)});
  }
  return results;
}

BenchReport measure(const BenchOptions& options, const RunnerOptions& runner_options, LimitMeter& meter) {
  if (options.roofline || !options.texts.empty()) return {meter.measure(), {}};
  const ModelFiles files = open_model_files(resolve_model(options.model.model));
  const auto bench = load_model(files, options, runner_options);
  const StatusLine status;
  bench->fill([&](int64_t done, int64_t total) {
    status.show("filling the context: " + std::to_string(done) + " of " + std::to_string(total) + " tokens");
  });
  return run_bench(*bench, meter, options.plan, [&](const std::string& text) { status.show(text); });
}

void run_bench_command(BenchOptions options) {
  if (options.roofline != options.model.model.empty()) {
    throw Error(ErrorCode::invalid_argument, options.roofline ? "--roofline measures the machine, without a MODEL"
                                                              : "MODEL is missing; --roofline does without");
  }
  check_model_options(options.model);
  const AttentionPlan attention = engine_plan(attention_options(options.model));
  options.plan.window = attention.window;
  options.plan.num_sinks = attention.num_sink_tokens;
  options.plan.memory = {.top_k = static_cast<int32_t>(attention.memory_top_k), .from = attention.hybrid_from};
  options.plan.context_length = options.model.context_length;
  const RunnerOptions runner_options{
      .isa = choose_cpu_isa(),
      .num_threads = options.model.num_threads > 0 ? options.model.num_threads : default_num_threads(),
      .cores = allowed_cores(),
      .kv_type = kv_type_of(options.model.kv_type),
      .quantize_bits = options.model.quantize_bits,
  };
  const std::vector<TextResult> texts = measure_texts(options);
  LimitMeter meter(runner_options.isa, runner_options.num_threads, runner_options.cores);
  const BenchReport report = measure(options, runner_options, meter);
  if (options.model.json) return print_json(report, texts, runner_options.isa, runner_options.num_threads);
  print_limits(report.limits, meter, runner_options.isa, runner_options.num_threads);
  if (!report.results.empty()) print_results(report.results);
  if (!texts.empty()) print_texts(texts);
}

}  // namespace

void register_bench(CLI::App& app) {
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure the machine's limits and how near to them a model runs");
  add_model_options(*command, options->model);
  command->get_option("MODEL")->required(false);
  const auto add_list = [&](const char* name, std::vector<int64_t>& list, int64_t low, const char* help) {
    add_option(*command, name, list, help)->delimiter(',')->check(CLI::Range(low, int64_t{1} << 24));
  };
  add_list("-p,--prompt", options->plan.prompts, 1, "prompts to read, in tokens: 512,4096");
  add_list("-d,--depth", options->plan.depths, 0, "context before the tokens to write: 0,8192");
  add_list("-b,--batch", options->plan.batches, 1, "sequences to write at once: 1,8,16");
  add_option(*command, "-n,--new-tokens", options->plan.new_tokens, "tokens to write in each sequence")
      ->check(CLI::Range(1, 1 << 20));
  add_option(*command, "--rounds", options->plan.rounds, "how often each test is measured")->check(CLI::Range(3, 1000));
  add_option(*command, "--seed", options->plan.seed, "seed of the token ids, which are random");
  add_option(*command, "--tokenizer", options->texts, "text files: measure MODEL's tokenizer on each, and nothing else")
      ->delimiter(',');
  add_switch(*command, "--roofline", options->roofline, "only the machine's limits, without a MODEL");
  command->callback([options] { run_bench_command(*options); });
}

}  // namespace qwin
