// SPDX-License-Identifier: Apache-2.0
#include "server/fields.h"

#include <cmath>
#include <cstdio>

namespace qwin::server {
namespace {

std::string number_text(double x) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", x);
  return text;
}

}  // namespace

void refuse_field(const std::string& name, const std::string& what) {
  throw HttpError::bad_request(name + " " + what, name);
}

void refuse_unknown_field(const std::string& name) {
  const std::string shown(cut_utf8(name, 64));
  throw HttpError::bad_request("there is no field \"" + shown + "\" here", shown);
}

void require_object(const Json& body) {
  if (!body.is_object()) throw HttpError::bad_request("the body must be a JSON object");
}

bool read_boolean(const Json& value, const std::string& name) {
  if (!value.is_boolean()) refuse_field(name, "must be true or false");
  return value.get<bool>();
}

int64_t read_integer(const Json& value, const std::string& name, int64_t low, int64_t high) {
  const std::string range = "must be an integer from " + std::to_string(low) + " to " + std::to_string(high);
  if (value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(std::max<int64_t>(high, 0)) &&
      static_cast<int64_t>(value.get<uint64_t>()) >= low) {
    return value.get<int64_t>();
  }
  if (value.is_number_integer() && !value.is_number_unsigned() && value.get<int64_t>() >= low &&
      value.get<int64_t>() <= high) {
    return value.get<int64_t>();
  }
  if (value.is_number_float()) {  // 5.0 is an integer of JSON Schema
    const double x = value.get<double>();
    if (x == std::floor(x) && std::abs(x) < 9e15 && x >= static_cast<double>(low) && x <= static_cast<double>(high)) {
      return static_cast<int64_t>(x);
    }
  }
  refuse_field(name, range);
}

double read_number(const Json& value, const std::string& name, double low, double high) {
  if (value.is_number()) {
    const double x = value.get<double>();
    if (x >= low && x <= high) return x;
  }
  refuse_field(name, "must be a number from " + number_text(low) + " to " + number_text(high));
}

std::string read_string(const Json& value, const std::string& name, size_t max_bytes) {
  if (!value.is_string()) refuse_field(name, "must be a string");
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > max_bytes) refuse_field(name, "must have at most " + std::to_string(max_bytes) + " bytes");
  return text;
}

std::string read_choice(const Json& value, const std::string& name, const std::vector<std::string>& choices) {
  std::string words;
  for (const std::string& choice : choices) {
    if (value == choice) return choice;
    words += (words.empty() ? "" : choice == choices.back() ? " or " : ", ") + choice;
  }
  refuse_field(name, "must be " + words);
}

Json boolean_schema(const char* description) { return {{"type", "boolean"}, {"description", description}}; }

Json integer_schema(const char* description, int64_t low, int64_t high) {
  return {{"type", "integer"}, {"minimum", low}, {"maximum", high}, {"description", description}};
}

Json number_schema(const char* description, double low, double high) {
  return {{"type", "number"}, {"minimum", low}, {"maximum", high}, {"description", description}};
}

Json string_schema(const char* description) { return {{"type", "string"}, {"description", description}}; }

Json choice_schema(const char* description, const std::vector<std::string>& choices) {
  return {{"type", "string"}, {"enum", choices}, {"description", description}};
}

Json nullable(Json schema) {
  if (const auto choices = schema.find("enum"); choices != schema.end()) choices->push_back(nullptr);
  const auto type = schema.find("type");
  if (type != schema.end() && type->is_string()) {
    *type = Json::array({*type, "null"});
    return schema;
  }
  if (const auto any = schema.find("anyOf"); any != schema.end()) any->push_back({{"type", "null"}});
  return schema;
}

}  // namespace qwin::server
