// SPDX-License-Identifier: Apache-2.0
// The wire forms of /v1/chat/completions and /v1/completions, and the parts that /chat shares with them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/generation_answer.h"

namespace qwin::server {

struct FormatOptions {
  std::string model;  // as clients call it
  int n = 1;          // choices of a prompt
  bool include_usage = false, return_token_ids = false, logprobs = false;
  std::vector<std::vector<int32_t>> prompts = {};  // token ids, one list a prompt
  // Completions with echo: the text of each prompt, which the answers begin with.
  bool echo = false;
  std::vector<std::string> echo_texts = {};
  bool drop_output = false;  // echo with max_tokens 0: the one token that was computed is not shown
};

std::unique_ptr<AnswerFormat> chat_completion_format(const Engine& engine, FormatOptions options);
std::unique_ptr<AnswerFormat> completion_format(const Engine& engine, FormatOptions options);

// {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"}; the prompt of n choices counts once.
Json usage_json(std::span<const GenerationResult> results, int n, bool drop_output);
// As llama.cpp's server tells them.
Json timings_json(const GenerationResult& result);
// {"type", "window"?, …}: how an answer's tokens saw each other.
Json attention_json(const AttentionPlan& plan);

}  // namespace qwin::server
