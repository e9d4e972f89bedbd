// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_session.h"

#include <algorithm>

namespace qwin {

namespace {

constexpr std::string_view kOpenThink = "<think>";
constexpr std::string_view kCloseThink = "</think>";

// An answer as the next prompt's template wants it: thoughts between both tags, so that the template can leave them
// out.
std::string closed_reasoning(std::string text, bool opened_by_prompt) {
  if (opened_by_prompt) text.insert(0, std::string(kOpenThink) + "\n");
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const bool thinks = begin != text.npos && std::string_view(text).substr(begin).starts_with(kOpenThink);
  if (thinks && text.find(kCloseThink) == text.npos) text += "\n" + std::string(kCloseThink) + "\n\n";
  return text;
}

ChatMessage parse_message(const Json& message, size_t index) {
  const auto field = [&](const char* name) {
    if (!message.is_object() || !message.contains(name) || !message[name].is_string()) {
      throw Error(ErrorCode::invalid_argument,
                  "message " + std::to_string(index) + " needs the texts \"role\" and \"content\"");
    }
    return message[name].get<std::string>();
  };
  ChatMessage parsed{field("role"), field("content")};
  const bool system = parsed.role == "system" && index == 0;
  if (!system && parsed.role != "user" && parsed.role != "assistant") {
    throw Error(ErrorCode::invalid_argument, "message " + std::to_string(index) +
                                                 " is neither of user nor of assistant (system may come first only)");
  }
  return parsed;
}

}  // namespace

ChatSession::ChatSession(Engine& engine, const RunOptions& options)
    : engine_(engine),
      raw_(options.raw),
      system_(options.system),
      params_(sampling_params(engine.default_sampling(), options)),
      default_params_(params_) {}

void ChatSession::add_user(std::string text) {
  num_retries_ = 0;
  messages_.push_back({"user", std::move(text)});
}

bool ChatSession::undo() {
  num_retries_ = 0;
  while (!messages_.empty()) {
    const bool is_user = messages_.back().role == "user";
    messages_.pop_back();
    if (is_user) return true;
  }
  return false;
}

bool ChatSession::retry() {
  size_t end = messages_.size();
  while (end > 0 && messages_[end - 1].role == "assistant") --end;
  if (end == 0) return false;
  messages_.resize(end);
  ++num_retries_;
  return true;
}

void ChatSession::clear() {
  messages_.clear();
  num_tokens_ = 0;
  num_retries_ = 0;
}

size_t ChatSession::num_turns() const {
  return static_cast<size_t>(std::ranges::count(messages_, "user", &ChatMessage::role));
}

void ChatSession::forget_oldest_turn() {
  size_t end = 1;
  while (end < messages_.size() && messages_[end].role != "user") ++end;
  messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(end));
}

std::vector<int32_t> ChatSession::tokenize() const {
  if (!raw_) return engine_.tokenize_chat(to_json().dump());
  std::string text;
  for (const ChatMessage& message : messages_) text += message.content;
  return engine_.tokenize_prompt(text);
}

ChatPrompt ChatSession::prompt() {
  ChatPrompt prompt{.token_ids = tokenize()};
  const int64_t context = info().context_length;
  const int64_t room = std::min<int64_t>(context / 8, params_.max_tokens);
  const auto tokens = [&] { return static_cast<int64_t>(prompt.token_ids.size()); };
  if (!info().attention.forgets() && tokens() + room > context) {
    // Half at once: every time the beginning changes, all that follows must be read anew.
    while (num_turns() > 1 && tokens() > context / 2) {
      forget_oldest_turn();
      ++prompt.turns_left_out;
      prompt.token_ids = tokenize();
    }
  }
  prompt.inside_reasoning = !raw_ && prompt_opens_reasoning(engine_, prompt.token_ids);
  return prompt;
}

GenerationResult ChatSession::answer(const ChatPrompt& prompt, const OnText& on_text) {
  SamplingParams params = params_;
  if (num_retries_ > 0) params.seed = params.seed.value_or(0) + num_retries_;
  GenerationResult result;
  try {
    result = engine_.generate({.prompt = prompt.token_ids, .sampling = params}, on_text);
  } catch (const Error&) {
    undo();
    throw;
  }
  num_tokens_ = result.prompt_tokens + static_cast<int64_t>(result.token_ids.size());
  ++totals_.answers;
  totals_.prompt_tokens += result.prompt_tokens;
  totals_.cached_tokens += result.cached_tokens;
  totals_.answer_tokens += static_cast<int64_t>(result.token_ids.size());
  if (result.finish_reason == FinishReason::cancelled && result.text.empty()) {
    undo();
    return result;
  }
  messages_.push_back({"assistant", raw_ ? result.text : closed_reasoning(result.text, prompt.inside_reasoning)});
  return result;
}

Json ChatSession::to_json() const {
  Json json = Json::array();
  if (!system_.empty()) json.push_back({{"role", "system"}, {"content", system_}});
  for (const ChatMessage& message : messages_) json.push_back({{"role", message.role}, {"content", message.content}});
  return json;
}

void ChatSession::check_messages(const Json& messages) {
  if (!messages.is_array()) throw Error(ErrorCode::invalid_argument, "a chat is a list of messages");
  for (size_t i = 0; i < messages.size(); ++i) parse_message(messages[i], i);
}

void ChatSession::from_json(const Json& messages) {
  check_messages(messages);
  clear();
  system_.clear();
  for (size_t i = 0; i < messages.size(); ++i) {
    ChatMessage message = parse_message(messages[i], i);
    if (message.role == "system") {
      system_ = std::move(message.content);
    } else {
      messages_.push_back(std::move(message));
    }
  }
}

}  // namespace qwin
