// SPDX-License-Identifier: Apache-2.0
// What `qwin run` and its chat share: the flags of sampling, and how an answer is shown.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/engine_options.h"

namespace qwin {

// Flags that were not given keep the model's own defaults.
struct RunOptions {
  ModelOptions model;
  EngineOptions engine;  // where K and V lie
  std::optional<std::string> prompt;
  std::string system;
  bool raw = false;
  bool ignore_eos = false;
  std::optional<int> max_tokens, top_k, logprobs;
  std::optional<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop, global_texts, global_messages;
};

// --temperature, --top-k, --seed, --stop and the others that say how tokens are chosen.
void add_sampling_flags(CLI::App& command, RunOptions& options);

// `defaults`, overridden by the flags. Throws Error(invalid_argument) naming the flag.
SamplingParams sampling_params(SamplingParams defaults, const RunOptions& options);

// "23 tokens, first after 120 ms, prompt 31 at 310/s, answer 52.1 tokens/s"
std::string timings_text(const GenerationResult& result);

// True when a chat's prompt ends in an open <think>: the answer begins with thoughts.
bool prompt_opens_reasoning(const Engine& engine, std::span<const int32_t> prompt);

// The conversation on a terminal (cli/chat_terminal.cc).
void chat_in_terminal(Engine& engine, const RunOptions& options);

}  // namespace qwin
