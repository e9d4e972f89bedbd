// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_options.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cli/lost_pages.h"
#include "cli/progress_bar.h"
#include "hub/model_store.h"

namespace qwin {

namespace {

KvCacheType parse_kv_type(const std::string& name) {
  if (name == "f32") return KvCacheType::f32;
  if (name == "f16") return KvCacheType::f16;
  if (name == "q8") return KvCacheType::q8;
  throw Error(ErrorCode::invalid_argument, "--kv-type " + name + " is unknown; use f16, q8 or f32");
}

// With one reader at a time long steps cost nobody a wait, and short ones would cost speed; Ctrl-C still acts in a
// moment.
constexpr double kMaxStepSeconds = 1.2;

void check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  throw Error(ErrorCode::invalid_argument, std::string(name) + " must be " + std::to_string(low) + " … " +
                                               std::to_string(high) + ", not " + std::to_string(value));
}

bool banner_wanted() {
  const char* level = std::getenv("QWIN_LOG");
  return level == nullptr || std::strcmp(level, "warn") != 0;
}

void print_banner(const EngineInfo& info) {
  std::fprintf(stderr, "%s: %s, %.2f G parameters, %.2f bits a weight, %s repacked\n", info.model_name.c_str(),
               info.architecture.c_str(), static_cast<double>(info.num_parameters) * 1e-9, info.bits_per_weight,
               bytes_text(info.weight_bytes).c_str());
  std::fprintf(stderr, "%s: kernels %s, %d thread%s, 2 MiB pages %s\n", info.cpu.c_str(), info.isa.c_str(),
               info.num_threads, info.num_threads == 1 ? "" : "s", info.huge_pages == "never" ? "off" : "on");
  std::fprintf(stderr,
               "context %" PRId64 " of %" PRId64 " tokens, batch %d, KV %s, %" PRIu64 " bytes a token, up to %s",
               info.context_length, info.model_context_length, info.max_batch_size, info.kv_type.c_str(),
               info.kv_bytes_per_token, bytes_text(info.kv_memory_bytes).c_str());
  if (info.kv_disk_bytes > 0) std::fprintf(stderr, " in memory, %s on disk", bytes_text(info.kv_disk_bytes).c_str());
  const AttentionPlan& plan = info.attention;
  if (plan.window > 0)
    std::fprintf(stderr, "; window %" PRId64 ", %" PRId64 " sinks", plan.window, plan.num_sink_tokens);
  if (plan.type == AttentionType::hybrid)
    std::fprintf(stderr, ", memory of %" PRId64 " pieces from token %" PRId64 " on", plan.memory_top_k,
                 plan.hybrid_from);
  if (plan.global_heads > 0) std::fprintf(stderr, ", %" PRId64 " heads that see everything", plan.global_heads);
  std::fprintf(stderr, "; loaded in %.1f s\n", info.load_seconds);
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("MODEL", options.model, "a model file, folder or name")->required();
  add_engine_flags(command, options);
}

void add_engine_flags(CLI::App& command, ModelOptions& options) {
  add_option(command, "--threads", options.num_threads, "threads to compute with; 0: every physical core allowed");
  add_option(command, "--ctx", options.context_length,
             "tokens of prompt and answer together; 0: the model's own, as memory allows");
  add_option(command, "--attention", options.attention_type,
             "full, sliding_window (what leaves the window is forgotten) or hybrid (it is found again)");
  add_option(command, "--window", options.window, "last tokens that are always seen; 0: all, exact attention")
      ->default_str("1024, or all if full");
  add_option(command, "--sinks", options.num_sink_tokens, "with a window, first tokens that are always seen");
  add_option(command, "--memory-top-k", options.memory_top_k, "hybrid: pieces of 16 tokens that a token finds again");
  add_option(command, "--hybrid-from", options.hybrid_from, "hybrid: tokens before this position see everything");
  add_option(command, "--global-heads", options.global_heads,
             "hybrid: KV heads of all layers that see everything, chosen by `qwin calibrate-heads`");
  add_option(command, "--overflow", options.overflow_policy, "a prompt beyond the context: error, or window");
  add_option(command, "--kv-type", options.kv_type, "how K and V are kept: f16, q8 (half the memory) or f32");
  add_option(command, "--bits", options.quantize_bits, "quantize the weights to 4 or 8 bits while they are loaded")
      ->check(CLI::IsMember({0, 4, 8}));
  add_switch(command, "--json", options.json, "print the result as JSON");
}

void add_kv_memory_flags(CLI::App& command, EngineOptions& options) {
  add_option(command, "--kv-memory", options.kv_memory_bytes,
             "bytes for keys and values; 0: what the weights leave of the memory, less 20 %");
  add_option(command, "--kv-dir", options.kv_directory,
             "a folder on a disk: keys and values that are too many for --kv-memory go there; empty: nowhere");
}

void check_model_options(const ModelOptions& options) {
  check_range("--threads", options.num_threads, 0, 1024);
  check_range("--ctx", options.context_length, 0, int64_t{1} << 24);
  check_range("--window", options.window.value_or(0), 0, int64_t{1} << 24);
  check_range("--sinks", options.num_sink_tokens, 0, 65536);
  check_range("--memory-top-k", options.memory_top_k, 0, 4096);
  check_range("--hybrid-from", options.hybrid_from, 0, int64_t{1} << 24);
  check_range("--global-heads", options.global_heads, 0, 65536);
  attention_options(options);
}

EngineOptions attention_options(const ModelOptions& options, EngineOptions rest) {
  rest.attention_type = {};
  if (!options.attention_type.empty()) rest.attention_type = attention_type_of(options.attention_type);
  rest.window = options.window;
  rest.num_sink_tokens = options.num_sink_tokens;
  rest.memory_top_k = options.memory_top_k;
  rest.hybrid_from = options.hybrid_from;
  rest.global_heads = options.global_heads;
  rest.overflow_policy = overflow_policy_of(options.overflow_policy);
  return rest;
}

std::unique_ptr<Engine> load_engine(const ModelOptions& options, EngineOptions engine_options) {
  engine_options.max_batch_size = 1;
  engine_options.max_step_seconds = kMaxStepSeconds;
  return load_engine(options, std::move(engine_options), {});
}

std::unique_ptr<Engine> load_engine(const ModelOptions& options, EngineOptions engine_options,
                                    const std::function<bool()>& stop) {
  check_model_options(options);
  engine_options = attention_options(options, std::move(engine_options));
  engine_options.num_threads = options.num_threads;
  engine_options.context_length = options.context_length;
  engine_options.kv_type = parse_kv_type(options.kv_type);
  engine_options.quantize_bits = options.quantize_bits;
  catch_lost_pages(1);
  ProgressBar bar("loading");
  auto engine = Engine::load(resolve_model(options.model), engine_options, [&](uint64_t done, uint64_t total) {
    if (stop && stop()) throw Error(ErrorCode::cancelled, "stopped while the model was loading");
    bar.update(done, total);
  });
  bar.clear();
  if (banner_wanted()) print_banner(engine->info());
  return engine;
}

}  // namespace qwin
