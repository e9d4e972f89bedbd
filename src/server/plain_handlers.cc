// SPDX-License-Identifier: Apache-2.0
// Health, metrics, models, and text to tokens and back.
#include <ctime>

#include "qwin/version.h"
#include "server/handlers.h"
#include "server/openapi.h"

namespace qwin::server {
namespace {

const std::time_t kStart = std::time(nullptr);

struct TokenizeRequest {
  std::string model;
  std::optional<std::string> text;
  Json messages;
  bool parse_special = false;
};

void read_text(TokenizeRequest& request, const Json& value, const char* name) {
  if (request.text) refuse_field(name, "is given under two names");
  request.text = read_string(value, name, SIZE_MAX);
}

Field<TokenizeRequest> text_field(const char* name, const char* description) {
  return {name, string_schema(description),
          [name](const Json& value, TokenizeRequest& request) { read_text(request, value, name); }};
}

std::span<const Field<TokenizeRequest>> tokenize_fields() {
  using R = TokenizeRequest;
  static const std::vector<Field<R>> fields{
      string_field("model", &R::model, 256, "the model's name, as /v1/models lists it"),
      text_field("text", "the text; \"content\" and \"prompt\" are other names for it"),
      text_field("content", "the same as text"),
      text_field("prompt", "the same as text"),
      {"messages",
       {{"type", "array"},
        {"minItems", 1},
        {"items", {{"type", "object"}}},
        {"description", "a chat instead of a text"}},
       [](const Json& value, R& request) {
         if (!value.is_array() || value.empty()) refuse_field("messages", "must be a list with at least one message");
         request.messages = value;
       }},
      boolean_field("parse_special", &R::parse_special, "tokens such as <|im_start|> are read in the text"),
  };
  return fields;
}

struct DetokenizeRequest {
  std::string model;
  std::optional<std::vector<int32_t>> ids;
};

Field<DetokenizeRequest> ids_field(const char* name, const char* description) {
  const Json schema{{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}, {"description", description}};
  return {name, schema, [name](const Json& value, DetokenizeRequest& request) {
            if (request.ids) refuse_field(name, "is given under two names");
            if (!value.is_array()) refuse_field(name, "must be a list of token ids");
            request.ids.emplace();
            for (const Json& id : value) {
              request.ids->push_back(static_cast<int32_t>(read_integer(id, name, 0, INT32_MAX)));
            }
          }};
}

std::span<const Field<DetokenizeRequest>> detokenize_fields() {
  static const std::vector<Field<DetokenizeRequest>> fields{
      string_field("model", &DetokenizeRequest::model, 256, "the model's name, as /v1/models lists it"),
      ids_field("token_ids", "the tokens; \"tokens\" is another name for them"),
      ids_field("tokens", "the same as token_ids"),
  };
  return fields;
}

Json model_json(const Service& service, const std::string& name) {
  const EngineInfo& info = service.engine().info();
  return {{"id", name},
          {"object", "model"},
          {"created", static_cast<int64_t>(kStart)},
          {"owned_by", "qwin"},
          {"max_model_len", info.context_length},
          {"meta",
           {{"architecture", info.architecture},
            {"n_params", info.num_parameters},
            {"size", info.file_bytes},
            {"n_ctx_train", info.model_context_length},
            {"n_vocab", info.vocab_size}}}};
}

}  // namespace

HttpResponse json_response(const Json& body) {
  return {.body = body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

Outcome handle_livez(Service&, const Admission&, const HttpRequest&) { return json_response({{"status", "ok"}}); }

Outcome handle_health(Service& service, const Admission&, const HttpRequest&) {
  if (service.draining()) throw HttpError::try_later(503, "draining", "the server is shutting down", 5);
  const EngineInfo& info = service.engine().info();
  if (!service.engine().stats().failure.empty()) {
    throw HttpError::try_later(503, "broken", "the server failed and is being started anew", 5);
  }
  return json_response({{"status", "ok"},
                        {"version", kVersion},
                        {"model", service.model_names().front()},
                        {"isa", info.isa},
                        {"threads", info.num_threads},
                        {"context_length", info.context_length}});
}

Outcome handle_metrics(Service& service, const Admission&, const HttpRequest&) {
  const EngineStats stats = service.has_engine() ? service.engine().stats() : EngineStats{};
  return HttpResponse{.content_type = Metrics::kContentType, .body = service.metrics().text(stats)};
}

Outcome handle_openapi(Service&, const Admission&, const HttpRequest&) { return json_response(openapi_document()); }

Outcome handle_models(Service& service, const Admission&, const HttpRequest&) {
  service.engine();  // there is one, and so a name
  return json_response(
      {{"object", "list"}, {"data", Json::array({model_json(service, service.model_names().front())})}});
}

Outcome handle_model(Service& service, const Admission& admission, const HttpRequest&) {
  service.engine();  // there is one
  check_model(service, admission.parameter);
  return json_response(model_json(service, admission.parameter));
}

Outcome handle_tokenize(Service& service, const Admission&, const HttpRequest& http) {
  const Json body = parse_body(http.body, service.limits().json_depth);
  TokenizeRequest wanted;
  read_fields(body, tokenize_fields(), wanted);
  const Engine& engine = service.engine();
  check_model(service, wanted.model);
  if (wanted.text.has_value() == !wanted.messages.is_null()) {
    throw HttpError::bad_request("give either text or messages", "text");
  }
  const std::vector<int32_t> ids =
      wanted.text ? engine.tokenize(*wanted.text, wanted.parse_special) : engine.tokenize_chat(wanted.messages.dump());
  return json_response(
      {{"token_ids", ids}, {"tokens", ids}, {"count", ids.size()}, {"max_model_len", engine.info().context_length}});
}

Outcome handle_detokenize(Service& service, const Admission&, const HttpRequest& http) {
  const Json body = parse_body(http.body, service.limits().json_depth);
  DetokenizeRequest wanted;
  read_fields(body, detokenize_fields(), wanted);
  const Engine& engine = service.engine();
  check_model(service, wanted.model);
  if (!wanted.ids) refuse_field("token_ids", "is missing");
  for (const int32_t id : *wanted.ids) read_integer(Json(id), "token_ids", 0, int64_t{engine.info().vocab_size} - 1);
  const std::string text = engine.detokenize(*wanted.ids);
  return json_response({{"text", text}, {"content", text}, {"prompt", text}});
}

Json tokenize_schema() { return object_schema(tokenize_fields()); }
Json detokenize_schema() { return object_schema(detokenize_fields()); }

}  // namespace qwin::server
