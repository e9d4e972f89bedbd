// SPDX-License-Identifier: Apache-2.0
// POST /chat and the conversations behind it.
#include "server/generation_answer.h"
#include "server/handlers.h"
#include "server/openai_format.h"

namespace qwin::server {
namespace {

constexpr int64_t kMaxListed = 1000;

// The wire form of /chat. Keeps the turn when the answer is over, also one that was broken off.
class ChatFormat final : public AnswerFormat {
 public:
  ChatFormat(ChatStore& chats, ChatTurn turn) : chats_(chats), turn_(std::move(turn)) {}

  void begin(std::string& out) override { out += "data: {\"text\":\"\",\"session\":\"" + turn_.id + "\"}\n\n"; }
  void output(std::string& out, int, const Output& output) override {
    reasoning_ += output.reasoning;
    text_ += output.text;
    if (output.text.empty() && output.reasoning.empty()) return;
    out += "data: {\"text\":";
    append_json_string(out, output.text);
    if (!output.reasoning.empty()) {
      out += ",\"reasoning\":";
      append_json_string(out, output.reasoning);
    }
    out += "}\n\n";
  }
  void choice_end(std::string&, int, const GenerationResult&) override {}
  void end(std::string& out, std::span<const GenerationResult> results) override {
    keep(results.front());
    const Json event{{"session", turn_.id},
                     {"finish_reason", finish_reason_name(results.front().finish_reason)},
                     {"usage", usage_json(results, 1, false)},
                     {"timings", timings_json(results.front())}};
    out += "data: " + event.dump() + "\n\n";
  }
  Json whole(std::span<const GenerationResult> results) override {
    const GenerationResult& result = results.front();
    keep(result);
    Json body{{"response", result.text},
              {"session", turn_.id},
              {"finish_reason", finish_reason_name(result.finish_reason)},
              {"usage", usage_json(results, 1, false)},
              {"timings", timings_json(result)}};
    if (!result.reasoning.empty()) body["reasoning"] = result.reasoning;
    return body;
  }
  void abandoned() override {
    try {
      turn_.response = stored_answer(reasoning_, text_);
      if (!turn_.response.empty()) chats_.add_turn(turn_);
    } catch (const HttpError&) {  // nobody is left to be told
    }
  }

 private:
  // As models write it: their templates leave thoughts of earlier turns out by these tags.
  static std::string stored_answer(const std::string& reasoning, const std::string& text) {
    return reasoning.empty() ? text : "<think>\n" + reasoning + "\n</think>\n\n" + text;
  }
  void keep(const GenerationResult& result) {
    turn_.response = stored_answer(result.reasoning, result.text);
    chats_.add_turn(turn_);
  }

  ChatStore& chats_;
  ChatTurn turn_;
  std::string reasoning_, text_;  // so far
};

Json messages_json(const StoredChat& chat, const GenerationRequest& wanted) {
  Json messages = Json::array();
  const std::string& system = wanted.has_system ? wanted.system : chat.system;
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  for (const ChatMessage& message : chat.messages) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  messages.push_back({{"role", "user"}, {"content", wanted.chat_prompt}});
  return messages;
}

[[noreturn]] void refuse_session() { throw HttpError(404, "not_found", "there is no such session", "session"); }

StoredChat load_history(Service& service, const Principal& principal, const GenerationRequest& wanted) {
  StoredChat chat;
  if (!wanted.session.empty()) {
    auto stored = service.chats().load(principal.key_id, wanted.session);
    if (!stored) refuse_session();
    chat = std::move(*stored);
  }
  if (wanted.replace_from) {
    const auto kept = static_cast<size_t>(*wanted.replace_from);
    if (kept > chat.messages.size() || kept % 2 != 0) {
      refuse_field("replace_from", "must be the index of a user's message of the session");
    }
    chat.messages.resize(kept);
  }
  return chat;
}

// A JSON body, or ?prompt=…&session=… alone, which is answered in one piece.
Json chat_body(const Service& service, const HttpRequest& http) {
  if (http.query.empty()) return parse_body(http.body, service.limits().json_depth);
  if (http.has_body && !http.body.empty()) throw HttpError::bad_request("give a body or a query, not both");
  Json body{{"stream", false}};
  for (const auto& [name, value] : http.query) {
    if (name != "prompt" && name != "session") refuse_unknown_field(name);
    body[name] = parse_body(Json(value).dump(-1, ' ', false, Json::error_handler_t::replace), 1);
  }
  return body;
}

Json summary_json(const ChatSummary& chat) {
  return {{"id", chat.id},
          {"title", chat.title},
          {"created", chat.created},
          {"updated", chat.updated},
          {"num_messages", chat.num_messages}};
}

}  // namespace

Outcome handle_chat(Service& service, const Admission& admission, const HttpRequest& http) {
  const Json body = chat_body(service, http);
  const GenerationRequest wanted =
      read_generation(service, body, chat_session_fields(), {.is_chat = true, .stream = true});
  Engine& engine = service.engine();
  const StoredChat chat = load_history(service, admission.principal, wanted);
  ChatTurn turn{.owner = admission.principal.key_id,
                .id = wanted.session.empty() ? random_id("chat-") : wanted.session,
                .replace_from = wanted.replace_from,
                .prompt = wanted.chat_prompt};
  if (wanted.has_system) turn.system = wanted.system;
  std::vector<int32_t> prompt = engine.tokenize_chat(messages_json(chat, wanted).dump());
  std::vector<Request> requests;
  requests.push_back(engine_request(service, wanted, admission.principal, std::move(prompt)));
  return std::make_unique<GenerationAnswer>(engine, service.metrics(), std::move(requests), wanted.stream,
                                            std::make_unique<ChatFormat>(service.chats(), std::move(turn)));
}

Outcome handle_list_chats(Service& service, const Admission& admission, const HttpRequest&) {
  Json sessions = Json::array();
  for (const ChatSummary& chat : service.chats().list(admission.principal.key_id, kMaxListed)) {
    sessions.push_back(summary_json(chat));
  }
  return json_response({{"sessions", std::move(sessions)}});
}

Outcome handle_get_chat(Service& service, const Admission& admission, const HttpRequest&) {
  const auto chat = service.chats().load(admission.principal.key_id, admission.parameter);
  if (!chat) refuse_session();
  Json body = summary_json(chat->summary);
  body["system"] = chat->system;
  Json& messages = body["messages"] = Json::array();
  for (const ChatMessage& message : chat->messages) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  return json_response(body);
}

Outcome handle_delete_chat(Service& service, const Admission& admission, const HttpRequest&) {
  if (!service.chats().remove(admission.principal.key_id, admission.parameter)) refuse_session();
  return json_response({{"id", admission.parameter}, {"deleted", true}});
}

}  // namespace qwin::server
