// SPDX-License-Identifier: Apache-2.0
#include "cli/quantize_gate.h"

#include <algorithm>

#include "cli/progress_bar.h"
#include "cli/text_file.h"
#include "hub/interrupt.h"

namespace qwin {
namespace {

constexpr int64_t kPiece = 2048;  // tokens that are read at a time, as `qwin eval` reads them

std::unique_ptr<Engine> load(const std::string& path, EngineOptions options) {
  options.max_batch_size = 1;
  const auto engine_progress = [](uint64_t, uint64_t) { throw_if_interrupted(); };
  return Engine::load(path, options, engine_progress);
}

EvalProgress progress_of(const char* label) {
  return [bar = std::make_shared<ProgressBar>(label)](int64_t done, int64_t total) {
    throw_if_interrupted();
    bar->update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
}

}  // namespace

void add_gate_options(CLI::App& command, GateArguments& arguments) {
  add_option(command, "--gate", arguments.conditions,
             "refuse a result that misses one of these: kld<=X, p999<=X (nats), top1>=X (0 to 1), with commas between");
  add_option(command, "--gate-text", arguments.text_file,
             "the text that --gate measures on; best one no calibration saw");
}

QuantizeGate::QuantizeGate(const GateArguments& arguments, const std::string& source, int num_threads)
    : gate_(arguments.conditions), text_(read_text(arguments.text_file)), num_threads_(num_threads) {
  const auto engine = load(source, {.num_threads = num_threads, .kv_type = KvCacheType::f32, .float32 = true});
  reference_ = measure_reference(*engine, text_, std::min(kPiece, engine->info().context_length),
                                 progress_of("reading with the source"));
}

void QuantizeGate::check(const std::string& path) {
  const auto engine = load(path, {.num_threads = num_threads_});
  measured_ = compare(*engine, text_, reference_, progress_of("reading with the result")).divergence;
  gate_.check(measured_);
}

std::unique_ptr<QuantizeGate> make_gate(const GateArguments& arguments, const std::string& source, int num_threads) {
  if (arguments.conditions.empty() != arguments.text_file.empty()) {
    throw Error(ErrorCode::invalid_argument, "--gate and --gate-text FILE go together");
  }
  if (arguments.conditions.empty()) return nullptr;
  return std::make_unique<QuantizeGate>(arguments, source, num_threads);
}

}  // namespace qwin
