// SPDX-License-Identifier: Apache-2.0
#include "server/openapi.h"

#include "qwin/version.h"
#include "server/handlers.h"

namespace qwin::server {
namespace {

Json typed(const char* type) { return {{"type", type}}; }
Json nullable_type(const char* type) { return {{"type", Json::array({type, "null"})}}; }
Json list_of(Json items) { return {{"type", "array"}, {"items", std::move(items)}}; }
Json reference(const char* name) { return {{"$ref", std::string("#/components/schemas/") + name}}; }

// An object whose keys are all there.
Json object_of(Json properties) {
  Json required = Json::array();
  for (const auto& [name, schema] : properties.items()) required.push_back(name);
  return {{"type", "object"}, {"required", std::move(required)}, {"properties", std::move(properties)}};
}

Json with_optional(Json object, Json properties) {
  object["properties"].update(properties);
  return object;
}

Json error_schema() {
  return object_of({{"error", object_of({{"message", typed("string")},
                                         {"type", typed("string")},
                                         {"param", nullable_type("string")},
                                         {"code", typed("string")}})}});
}

Json usage_schema() {
  return object_of({{"prompt_tokens", typed("integer")},
                    {"completion_tokens", typed("integer")},
                    {"total_tokens", typed("integer")},
                    {"prompt_tokens_details", object_of({{"cached_tokens", typed("integer")}})}});
}

Json answer_schema(Json choice) {
  const Json body = object_of({{"id", typed("string")},
                               {"object", typed("string")},
                               {"created", typed("integer")},
                               {"model", typed("string")},
                               {"choices", list_of(std::move(choice))},
                               {"usage", reference("Usage")},
                               {"timings", typed("object")},
                               {"attention", typed("object")}});
  return with_optional(body, {{"prompt_token_ids", typed("array")}});
}

Json chat_answer_schema() {
  const Json message = object_of({{"role", typed("string")}, {"content", typed("string")}, {"refusal", typed("null")}});
  const Json choice = object_of({{"index", typed("integer")},
                                 {"message", message},
                                 {"logprobs", nullable_type("object")},
                                 {"finish_reason", typed("string")}});
  return answer_schema(with_optional(choice, {{"token_ids", list_of(typed("integer"))}}));
}

Json completion_answer_schema() {
  const Json choice = object_of({{"index", typed("integer")},
                                 {"text", typed("string")},
                                 {"logprobs", nullable_type("object")},
                                 {"finish_reason", typed("string")}});
  return answer_schema(with_optional(choice, {{"token_ids", list_of(typed("integer"))}}));
}

Json model_schema() {
  return object_of({{"id", typed("string")},
                    {"object", typed("string")},
                    {"created", typed("integer")},
                    {"owned_by", typed("string")},
                    {"max_model_len", typed("integer")},
                    {"meta", typed("object")}});
}

Json session_schema() {
  return object_of({{"id", typed("string")},
                    {"title", typed("string")},
                    {"created", typed("integer")},
                    {"updated", typed("integer")},
                    {"num_messages", typed("integer")}});
}

Json session_with_messages_schema() {
  Json session = session_schema();
  const Json message = object_of({{"role", typed("string")}, {"content", typed("string")}});
  const Json more{{"system", typed("string")}, {"messages", list_of(message)}};
  for (const auto& [name, schema] : more.items()) {
    session["properties"][name] = schema;
    session["required"].push_back(name);
  }
  return session;
}

Json chat_response_schema() {
  return object_of({{"response", typed("string")},
                    {"session", typed("string")},
                    {"finish_reason", typed("string")},
                    {"usage", reference("Usage")},
                    {"timings", typed("object")}});
}

Json document_response_schema() {
  const Json segment =
      object_of({{"begin", typed("integer")}, {"end", typed("integer")}, {"num_tokens", typed("integer")}});
  return object_of({{"id", typed("string")},
                    {"object", typed("string")},
                    {"created", typed("integer")},
                    {"model", typed("string")},
                    {"text", typed("string")},
                    {"method", typed("string")},
                    {"segments", list_of(segment)},
                    {"partial_answers", list_of(typed("string"))},
                    {"finish_reason", typed("string")},
                    {"usage", reference("Usage")},
                    {"attention", typed("object")}});
}

struct Body {
  const char* method;
  const char* path;
  Json request;   // null: none
  Json response;  // null: not JSON
  const char* response_type = "application/json";
  bool streams = false;
};

std::vector<Body> bodies() {
  const Json status = with_optional(object_of({{"status", typed("string")}}), Json::object());
  const Json ids = list_of(typed("integer"));
  const Json tokens = object_of(
      {{"token_ids", ids}, {"tokens", ids}, {"count", typed("integer")}, {"max_model_len", typed("integer")}});
  const Json text = object_of({{"text", typed("string")}, {"content", typed("string")}, {"prompt", typed("string")}});
  return {
      {"GET", "/livez", {}, status},
      {"GET", "/readyz", {}, status},
      {"GET", "/health", {}, status},
      {"GET", "/metrics", {}, {}, "text/plain"},
      {"GET", "/openapi.json", {}, typed("object")},
      {"GET", "/", {}, {}, "text/html"},
      {"GET", "/v1/models", {}, object_of({{"object", typed("string")}, {"data", list_of(reference("Model"))}})},
      {"GET", "/v1/models/{id}", {}, reference("Model")},
      {"POST", "/v1/chat/completions", object_schema(chat_completion_fields()), chat_answer_schema(),
       "application/json", true},
      {"POST", "/v1/completions", object_schema(completion_fields()), completion_answer_schema(), "application/json",
       true},
      {"POST", "/v1/documents", object_schema(document_fields()), document_response_schema(), "application/json", true},
      {"POST", "/tokenize", tokenize_schema(), tokens},
      {"POST", "/detokenize", detokenize_schema(), text},
      {"POST", "/chat", object_schema(chat_session_fields()), chat_response_schema(), "application/json", true},
      {"GET", "/chat/sessions", {}, object_of({{"sessions", list_of(session_schema())}})},
      {"GET", "/chat/sessions/{id}", {}, session_with_messages_schema()},
      {"DELETE", "/chat/sessions/{id}", {}, object_of({{"id", typed("string")}, {"deleted", typed("boolean")}})},
  };
}

const Body& body_of(const std::vector<Body>& all, const Route& route) {
  for (const Body& body : all) {
    if (std::string_view(body.method) == route.method && std::string_view(body.path) == route.path) return body;
  }
  throw std::logic_error(std::string("no description of ") + route.path);
}

Json json_content(Json schema) { return {{"application/json", {{"schema", std::move(schema)}}}}; }

// Every refusal that any route may give; the status of each says what is wrong.
Json error_responses() {
  constexpr std::pair<const char*, const char*> kErrors[] = {
      {"400", "The request is malformed; param names the field"},
      {"401", "No valid API key"},
      {"403", "A foreign Host or Origin"},
      {"404", "No such path, model or session"},
      {"405", "The path does not take this method"},
      {"408", "The request came too slowly, or took longer than allowed"},
      {"413", "The body is too large"},
      {"414", "The URL is too long"},
      {"415", "The body is not application/json"},
      {"429", "The queue is full; Retry-After says when to come again"},
      {"431", "The header is too large"},
      {"500", "The request failed inside the server"},
      {"503", "Loading, draining or out of memory; Retry-After says when to come again"},
  };
  Json responses = Json::object();
  for (const auto& [status, description] : kErrors) {
    responses[status] = {{"description", description}, {"content", json_content(reference("Error"))}};
  }
  return responses;
}

Json operation(const Route& route, const Body& body) {
  Json operation{{"summary", route.summary}, {"security", Json::array()}};
  if (!route.open) operation["security"].push_back({{"key", Json::array()}});
  if (std::string_view(route.path).find('{') != std::string_view::npos) {
    operation["parameters"] = Json::array(
        {{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}, {"minLength", 1}}}}});
  }
  if (!body.request.is_null()) {
    operation["requestBody"] = {{"required", true}, {"content", json_content(body.request)}};
  }
  Json content = Json::object();
  content[body.response_type]["schema"] = body.response.is_null() ? typed("string") : body.response;
  if (body.streams) content["text/event-stream"]["schema"] = Json::object();  // events of JSON, then [DONE]
  operation["responses"] = {{"200", {{"description", route.summary}, {"content", std::move(content)}}}};
  operation["responses"].update(error_responses());
  return operation;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(c));
  return text;
}

}  // namespace

Json openapi_document() {
  const std::vector<Body> all = bodies();
  Json paths = Json::object();
  for (const Route& route : routes()) {
    if (std::string_view(route.path).starts_with("/page/")) continue;  // the page's own business
    paths[route.path][lower_case(route.method)] = operation(route, body_of(all, route));
  }
  return {{"openapi", "3.1.0"},
          {"info", {{"title", "qwin"}, {"version", kVersion}, {"description", "Answers of a Qwen language model"}}},
          {"paths", std::move(paths)},
          {"components",
           {{"schemas", {{"Error", error_schema()}, {"Usage", usage_schema()}, {"Model", model_schema()}}},
            {"securitySchemes", {{"key", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace qwin::server
