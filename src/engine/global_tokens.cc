// SPDX-License-Identifier: Apache-2.0
#include "engine/global_tokens.h"

#include <algorithm>

#include "ops/attention.h"
#include "qwin/error.h"

namespace qwin {

void add_global_message(GlobalTokens& global, const std::string& name) {
  if (name == "system") {
    global.system = true;
  } else if (name == "question") {
    global.question = true;
  } else {
    throw Error(ErrorCode::invalid_argument, "global_messages are system and question, not " + name.substr(0, 64));
  }
}

namespace {

// Longer ones would be no key tokens any more, but most of the text.
constexpr int64_t kMaxQuestionTokens = 1024;
// What a step keeps of its choices grows with them.
constexpr int64_t kMaxGlobalTokens = 32768;

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::invalid_argument, why); }

// Every place where a text stands in a prompt, as tokens.
void find_text(const Tokenizer& tokenizer, std::span<const int32_t> prompt, const std::string& text, size_t number,
               std::vector<TokenSpan>& spans) {
  if (text.empty()) refuse("global_texts[" + std::to_string(number) + "] is empty");
  std::string bytes;
  std::vector<size_t> ends;  // of each token
  for (const int32_t id : prompt) {
    bytes += tokenizer.token_bytes(id);
    ends.push_back(bytes.size());
  }
  const auto token_at = [&](size_t byte) { return std::ranges::upper_bound(ends, byte) - ends.begin(); };
  const size_t before = spans.size();
  for (size_t at = bytes.find(text); at != bytes.npos; at = bytes.find(text, at + text.size()))
    spans.push_back({token_at(at), token_at(at + text.size() - 1) + 1});
  if (spans.size() == before) refuse("global_texts[" + std::to_string(number) + "] does not stand in the prompt");
}

struct ChatMessage {
  std::string role;
  TokenSpan span;
};

// The messages of a rendered chat, by the token that each begins with.
std::vector<ChatMessage> messages_of(const Tokenizer& tokenizer, std::span<const int32_t> prompt) {
  constexpr size_t kRoleTokens = 16;
  std::vector<ChatMessage> messages;
  const std::vector<int32_t> mark = tokenizer.encode("<|im_start|>", true);
  if (mark.size() != 1) return messages;
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] != mark[0]) continue;
    if (!messages.empty()) messages.back().span.end = static_cast<int64_t>(i);
    const std::string begin = tokenizer.decode(prompt.subspan(i + 1, std::min(kRoleTokens, prompt.size() - i - 1)));
    messages.push_back(
        {begin.substr(0, begin.find('\n')), {static_cast<int64_t>(i), static_cast<int64_t>(prompt.size())}});
  }
  return messages;
}

void find_messages(const Tokenizer& tokenizer, std::span<const int32_t> prompt, const GlobalTokens& global,
                   std::vector<TokenSpan>& spans) {
  const std::vector<ChatMessage> messages = messages_of(tokenizer, prompt);
  if (global.system) {
    if (messages.empty() || messages.front().role != "system") refuse("global_messages: there is no system message");
    spans.push_back(messages.front().span);
  }
  if (!global.question) return;
  const auto last = std::find_if(messages.rbegin(), messages.rend(), [](const auto& m) { return m.role == "user"; });
  if (last == messages.rend()) refuse("global_messages: there is no message of the user");
  if (last->span.end - last->span.begin > kMaxQuestionTokens) {
    refuse("global_messages: the user's last message has more than " + std::to_string(kMaxQuestionTokens) +
           " tokens; name its question in global_texts");
  }
  spans.push_back(last->span);
}

}  // namespace

std::vector<TokenSpan> find_global_spans(const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                                         const GlobalTokens& global) {
  std::vector<TokenSpan> found = global.spans;
  for (const TokenSpan& span : found) {
    if (span.begin < 0 || span.end <= span.begin || span.end > static_cast<int64_t>(prompt.size())) {
      refuse("global_spans: [" + std::to_string(span.begin) + ", " + std::to_string(span.end) +
             "] is no part of a prompt of " + std::to_string(prompt.size()) + " tokens");
    }
  }
  for (size_t i = 0; i < global.texts.size(); ++i) find_text(tokenizer, prompt, global.texts[i], i, found);
  find_messages(tokenizer, prompt, global, found);
  std::ranges::sort(found, {}, &TokenSpan::begin);
  std::vector<TokenSpan> spans;
  int64_t tokens = 0;
  for (const TokenSpan& span : found) {
    if (spans.empty() || span.begin > spans.back().end) {
      spans.push_back(span);
    } else {
      spans.back().end = std::max(spans.back().end, span.end);
    }
  }
  for (const TokenSpan& span : spans) tokens += span.end - span.begin;
  if (tokens > kMaxGlobalTokens) {
    refuse("there are " + std::to_string(tokens) + " global tokens; at most " + std::to_string(kMaxGlobalTokens) +
           " can be seen by all");
  }
  return spans;
}

std::vector<int32_t> global_parts(std::span<const TokenSpan> spans) {
  std::vector<int32_t> parts;
  for (const TokenSpan& span : spans) {
    const auto last = static_cast<int32_t>((span.end - 1) / kPartSize);
    auto part = static_cast<int32_t>(span.begin / kPartSize);
    if (!parts.empty()) part = std::max(part, parts.back() + 1);
    for (; part <= last; ++part) parts.push_back(part);
  }
  return parts;
}

}  // namespace qwin
