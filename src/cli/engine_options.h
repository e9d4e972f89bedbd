// SPDX-License-Identifier: Apache-2.0
// The flags common to every command that loads a model, and the loading itself.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/cli.h"
#include "qwin/engine.h"

namespace qwin {

struct ModelOptions {
  std::string model;
  int num_threads = 0;
  int64_t context_length = 0;
  std::string attention_type;  // empty: a sliding window if there is one, else full
  std::optional<int64_t> window;
  int64_t num_sink_tokens = EngineOptions{}.num_sink_tokens;
  int64_t memory_top_k = EngineOptions{}.memory_top_k;
  int64_t hybrid_from = EngineOptions{}.hybrid_from;
  int64_t global_heads = 0;
  std::string overflow_policy = "error";
  std::string kv_type = "f16";
  int quantize_bits = 0;
  bool json = false;
};

// MODEL and the flags of add_engine_flags().
void add_model_options(CLI::App& command, ModelOptions& options);
// --threads, --ctx, --kv-type, --bits, --json and how tokens see each other: --attention, --window, --sinks, ….
void add_engine_flags(CLI::App& command, ModelOptions& options);

// --kv-memory and --kv-dir.
void add_kv_memory_flags(CLI::App& command, EngineOptions& options);

// Throws Error(invalid_argument) for what is out of range or contradicts itself.
void check_model_options(const ModelOptions& options);
// `rest` with what the options say about attention.
EngineOptions attention_options(const ModelOptions& options, EngineOptions rest = {});

// Loads the model for one reader with a progress bar, then prints the banner to stderr (unless QWIN_LOG=warn). Throws
// Error. What the model options say wins.
std::unique_ptr<Engine> load_engine(const ModelOptions& options, EngineOptions engine_options = {});
// The same for many readers. Asks `stop` while loading and throws
// Error(cancelled) when it says true.
std::unique_ptr<Engine> load_engine(const ModelOptions& options, EngineOptions engine_options,
                                    const std::function<bool()>& stop);

}  // namespace qwin
