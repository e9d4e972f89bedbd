// SPDX-License-Identifier: Apache-2.0
// A chat without its terminal: the messages, what of them fits into the context, and the answers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/run.h"
#include "io/json.h"

namespace qwin {

struct ChatMessage {
  std::string role;  // "user" or "assistant"
  std::string content;
};

struct ChatPrompt {
  std::vector<int32_t> token_ids;
  size_t turns_left_out = 0;
  bool inside_reasoning = false;  // it ends in an open <think>
};

struct ChatTotals {
  int64_t answers = 0, prompt_tokens = 0, cached_tokens = 0, answer_tokens = 0;
};

// Turns are a user's message and its answer. Not thread-safe; must die before the engine.
class ChatSession {
 public:
  ChatSession(Engine& engine, const RunOptions& options);

  void add_user(std::string text);
  // Takes back the last turn; false when there is none.
  bool undo();
  // Takes back the last answer, so that its question can be answered once more with the next seed; false when there is
  // no question.
  bool retry();
  void clear();

  // The tokens of the chat. When they leave less than an eighth of the context for the answer (or less than max_tokens,
  // if that is fewer), the oldest turns are forgotten until half of the context is free; never the system message or
  // the last turn. With a window the chat goes on for ever and nothing is forgotten.
  ChatPrompt prompt();
  // Writes the answer to the last message and keeps it. A message that gets no answer, because of an Error or an early
  // cancel, is taken back.
  GenerationResult answer(const ChatPrompt& prompt, const OnText& on_text);

  // A list of {"role", "content"}, the system message first.
  Json to_json() const;
  // Throws Error(invalid_argument) unless it is such a list.
  static void check_messages(const Json& messages);
  // Replaces the chat. Throws as check_messages.
  void from_json(const Json& messages);

  size_t num_turns() const;
  const std::vector<ChatMessage>& messages() const { return messages_; }
  bool raw() const { return raw_; }
  const std::string& system() const { return system_; }
  void set_system(std::string text) { system_ = std::move(text); }
  SamplingParams& params() { return params_; }
  const SamplingParams& default_params() const { return default_params_; }
  const EngineInfo& info() const { return engine_.info(); }
  const ChatTotals& totals() const { return totals_; }
  // Of the chat as the model last saw it, its own answer included.
  int64_t num_tokens() const { return num_tokens_; }

 private:
  std::vector<int32_t> tokenize() const;
  void forget_oldest_turn();

  Engine& engine_;
  bool raw_;
  std::string system_;
  std::vector<ChatMessage> messages_;
  SamplingParams params_, default_params_;
  uint64_t num_retries_ = 0;  // of the last question
  int64_t num_tokens_ = 0;
  ChatTotals totals_;
};

}  // namespace qwin
