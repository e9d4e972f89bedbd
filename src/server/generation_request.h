// SPDX-License-Identifier: Apache-2.0
// What the generating endpoints read from a body, and how it becomes requests of the engine.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qwin/document.h"
#include "server/fields.h"
#include "server/limits.h"

namespace qwin::server {

struct GenerationRequest {
  explicit GenerationRequest(const Limits& limits_in) : limits(limits_in) {}

  const Limits& limits;
  SamplingParams sampling;  // the model's defaults before the fields are read
  std::string model, user, cache_salt;
  std::optional<AttentionType> attention_type;
  std::optional<int64_t> window, num_sink_tokens, memory_top_k, global_heads;
  GlobalTokens global;
  std::optional<OverflowPolicy> overflow_policy;
  std::optional<int64_t> max_tokens, max_completion_tokens;
  int64_t n = 1;
  bool is_chat = false;  // the model is answering somebody: thoughts are told apart
  bool stream = false, include_usage = false, return_token_ids = false;
  bool has_stream_options = false;
  // Chat completions.
  Json messages;
  bool logprobs = false;
  std::optional<int64_t> top_logprobs;
  // Completions.
  Json prompt;
  std::string suffix;
  bool has_suffix = false, echo = false, parse_special = false;
  // /chat.
  std::string chat_prompt, session, system;
  bool has_system = false;
  std::optional<int64_t> replace_from;
  // Documents.
  DocumentOptions document;
  std::string text;
};

using GenerationField = Field<GenerationRequest>;
std::span<const GenerationField> chat_completion_fields();
std::span<const GenerationField> completion_fields();
std::span<const GenerationField> chat_session_fields();
std::span<const GenerationField> document_fields();

// What the fields do not say alone: throws HttpError 400 when they contradict each other or the limits.
void check_generation(GenerationRequest& request);

}  // namespace qwin::server
