// SPDX-License-Identifier: Apache-2.0
// The fields of a request's body: one table validates them, fills in the request and describes them in /openapi.json.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "server/http_error.h"
#include "server/json.h"

namespace qwin::server {

template <typename T>
struct Field {
  std::string name;
  Json schema;  // JSON Schema, with its description
  std::function<void(const Json& value, T& target)> read;
  bool required = false;
};

// Each throws HttpError 400 that names the field.
bool read_boolean(const Json& value, const std::string& name);
int64_t read_integer(const Json& value, const std::string& name, int64_t low, int64_t high);
double read_number(const Json& value, const std::string& name, double low, double high);
std::string read_string(const Json& value, const std::string& name, size_t max_bytes);
std::string read_choice(const Json& value, const std::string& name, const std::vector<std::string>& choices);
[[noreturn]] void refuse_field(const std::string& name, const std::string& what);
[[noreturn]] void refuse_unknown_field(const std::string& name);
void require_object(const Json& body);

Json boolean_schema(const char* description);
Json integer_schema(const char* description, int64_t low, int64_t high);
Json number_schema(const char* description, double low, double high);
Json string_schema(const char* description);
Json choice_schema(const char* description, const std::vector<std::string>& choices);
// The same, or null.
Json nullable(Json schema);

template <typename T>
Field<T> boolean_field(const std::string& name, bool T::* member, const char* description) {
  return {name, boolean_schema(description),
          [=](const Json& value, T& target) { target.*member = read_boolean(value, name); }};
}

// `member`: an integer, or an optional one.
template <typename T, typename Member>
Field<T> integer_field(const std::string& name, Member T::* member, int64_t low, int64_t high,
                       const char* description) {
  return {name, integer_schema(description, low, high), [=](const Json& value, T& target) {
            target.*member = static_cast<int64_t>(read_integer(value, name, low, high));
          }};
}

template <typename T>
Field<T> string_field(const std::string& name, std::string T::* member, size_t max_bytes, const char* description) {
  return {name, string_schema(description),
          [=](const Json& value, T& target) { target.*member = read_string(value, name, max_bytes); }};
}

// Reads every key of `body` into `target`. Throws HttpError 400 for an unknown or missing one; null counts as absent.
template <typename T>
void read_fields(const Json& body, std::span<const Field<T>> fields, T& target) {
  require_object(body);
  for (const auto& [key, value] : body.items()) {
    const Field<T>* known = nullptr;
    for (const Field<T>& field : fields) {
      if (field.name == key) known = &field;
    }
    if (!known) refuse_unknown_field(key);
    if (!value.is_null()) known->read(value, target);
  }
  for (const Field<T>& field : fields) {
    if (!field.required) continue;
    const auto found = body.find(field.name);
    if (found == body.end() || found->is_null()) refuse_field(field.name, "is missing");
  }
}

// The schema of such a body.
template <typename T>
Json object_schema(std::span<const Field<T>> fields) {
  Json properties = Json::object(), required = Json::array();
  for (const Field<T>& field : fields) {
    properties[field.name] = field.required ? field.schema : nullable(field.schema);
    if (field.required) required.push_back(field.name);
  }
  Json schema{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty()) schema["required"] = std::move(required);
  return schema;
}

}  // namespace qwin::server
