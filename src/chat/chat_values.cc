// SPDX-License-Identifier: Apache-2.0
#include "chat/chat_values.h"

#include <string>
#include <string_view>

namespace qwin {
namespace {

using jinja::Budget;
using jinja::Dict;
using jinja::List;
using jinja::Origin;
using jinja::Text;
using jinja::TextPtr;
using jinja::Type;
using jinja::Value;

class Converter {
 public:
  Converter(const TemplateNeeds& needs, ParsedArguments& parsed, Budget& budget)
      : needs_(needs), parsed_(parsed), budget_(budget) {}

  Value messages(const Json& json) {
    auto list = std::make_shared<List>(&budget_);
    list->reserve(json.size());
    for (const Json& item : json) list->push(message(item));
    return {Type::list, 0, 0, std::move(list)};
  }

 private:
  // Nulls go; reasoning is found under every name it has; parts become one text; developers speak as the system.
  Value message(const Json& json) {
    auto dict = std::make_shared<Dict>(&budget_);
    const Json* reasoning = reasoning_of(json);
    if (reasoning && !has(json, "thinking")) set(*dict, "thinking", jinja::from_json(*reasoning, budget_));
    for (auto it = json.begin(); it != json.end(); ++it) {
      if (!it->is_null()) set(*dict, it.key(), field(it.key(), *it));
    }
    if (reasoning) set(*dict, "reasoning_content", jinja::from_json(*reasoning, budget_));
    if (needs_.null_content && !dict->find("content")) set(*dict, "content", Value::none());
    return {Type::dict, 0, 0, std::move(dict)};
  }

  void set(Dict& dict, std::string_view key, Value value) {
    budget_.work(dict.items.size());
    dict.set(Text::borrow(&budget_, key), std::move(value));
  }

  static bool has(const Json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && !found->is_null();
  }

  static const Json* reasoning_of(const Json& json) {
    for (const char* key : {"reasoning_content", "thinking", "reasoning"}) {
      if (has(json, key)) return &json[key];
    }
    return nullptr;
  }

  Value field(std::string_view key, const Json& value) {
    if (key == "content" && value.is_array()) return joined_parts(value);
    if (key == "tool_calls") return tool_calls(value);
    if (key == "role" && value == "developer") return Value::text(Text::borrow(&budget_, "system"));
    return jinja::from_json(value, budget_);
  }

  Value joined_parts(const Json& parts) {
    auto text = std::make_shared<Text>(&budget_);
    for (const Json& part : parts) {
      if (&part != &parts.front()) text->append("\n", Origin::data);
      text->append(part["text"].get_ref<const std::string&>(), Origin::data);
    }
    return Value::text(std::move(text));
  }

  Value tool_calls(const Json& calls) {
    auto list = std::make_shared<List>(&budget_);
    for (const Json& call : calls) list->push(tool_call(call));
    return {Type::list, 0, 0, std::move(list)};
  }

  // {"function": {"name", "arguments"}} or the inner object alone.
  Value tool_call(const Json& call) {
    auto dict = std::make_shared<Dict>(&budget_);
    for (auto it = call.begin(); it != call.end(); ++it) {
      if (it.key() == "function" && it->is_object())
        set(*dict, it.key(), tool_call(*it));
      else if (it.key() == "arguments")
        set(*dict, it.key(), arguments(*it));
      else
        set(*dict, it.key(), jinja::from_json(*it, budget_));
    }
    return {Type::dict, 0, 0, std::move(dict)};
  }

  Value arguments(const Json& given) {
    using Arguments = TemplateNeeds::Arguments;
    if (needs_.arguments == Arguments::object && given.is_string()) return parsed_arguments(given);
    Value value = jinja::from_json(given, budget_);
    if (needs_.arguments == Arguments::text && given.is_object()) return Value::text(to_json(value, {}, budget_));
    return value;
  }

  Value parsed_arguments(const Json& given) {
    const std::string& text = given.get_ref<const std::string&>();
    if (text.find_first_not_of(" \t\r\n") == text.npos) return {Type::dict, 0, 0, std::make_shared<Dict>(&budget_)};
    budget_.work(text.size() * 8);
    parsed_.push_back(parse_json(text, "the arguments of a tool call", ErrorCode::invalid_argument));
    if (!parsed_.back().is_object()) {
      throw Error(ErrorCode::invalid_argument, "the arguments of a tool call are no JSON object");
    }
    return jinja::from_json(parsed_.back(), budget_);
  }

  const TemplateNeeds& needs_;
  ParsedArguments& parsed_;
  Budget& budget_;
};

}  // namespace

Value messages_value(const Json& messages, const TemplateNeeds& needs, ParsedArguments& parsed, Budget& budget) {
  return Converter(needs, parsed, budget).messages(messages);
}

}  // namespace qwin
