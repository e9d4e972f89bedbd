// SPDX-License-Identifier: Apache-2.0
#include "chat/messages.h"

#include <algorithm>
#include <string>

#include "core/printable.h"

namespace qwin {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::invalid_argument, what); }

const Json* find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_known_role(const std::string& role) {
  static constexpr const char* kRoles[] = {"system", "developer", "user", "assistant", "tool"};
  return std::find(std::begin(kRoles), std::end(kRoles), role) != std::end(kRoles);
}

// An optional string: absent and null are fine.
void check_string(const Json& object, const char* key, const std::string& where) {
  const Json* value = find(object, key);
  if (value && !value->is_string()) refuse(where + "." + key + " must be a string");
}

void check_parts(const Json& parts, const std::string& where) {
  if (parts.empty()) refuse(where + " is an empty list; give a string or text parts");
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string part = where + "[" + std::to_string(i) + "]";
    if (!parts[i].is_object()) refuse(part + " must be an object like {\"type\": \"text\", \"text\": \"…\"}");
    const Json* type = find(parts[i], "type");
    if (!type || !type->is_string()) refuse(part + ".type must be a string");
    if (*type != "text") {
      refuse(part + ": this model reads text only, not " + printable(type->get_ref<const std::string&>()));
    }
    const Json* text = find(parts[i], "text");
    if (!text || !text->is_string()) refuse(part + ".text must be a string");
  }
}

void check_tool_calls(const Json& calls, const std::string& where) {
  if (!calls.is_array()) refuse(where + " must be a list");
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string call = where + "[" + std::to_string(i) + "]";
    if (!calls[i].is_object()) refuse(call + " must be an object");
    const Json* function = find(calls[i], "function");
    if (function && !function->is_object()) refuse(call + ".function must be an object");
    const Json& named = function ? *function : calls[i];
    const Json* name = find(named, "name");
    if (!name || !name->is_string()) refuse(call + " needs a function with a name");
    const Json* arguments = find(named, "arguments");
    if (arguments && !arguments->is_object() && !arguments->is_string()) {
      refuse(call + ": arguments must be an object or a string of JSON");
    }
  }
}

void check_message(const Json& message, const std::string& where) {
  if (!message.is_object()) refuse(where + " must be an object with role and content");
  const Json* role = find(message, "role");
  if (!role || !role->is_string()) refuse(where + ".role must be a string");
  const std::string& name = role->get_ref<const std::string&>();
  if (!is_known_role(name)) {
    refuse(where + ".role: unknown role " + printable(name) + "; known are system, developer, user, assistant, tool");
  }
  const Json* calls = find(message, "tool_calls");
  if (calls) check_tool_calls(*calls, where + ".tool_calls");
  for (const char* key : {"reasoning_content", "reasoning", "thinking"}) check_string(message, key, where);
  const Json* content = find(message, "content");
  if (!content) {
    if (name == "assistant" && calls && !calls->empty()) return;
    refuse(where + ".content is missing or null; only an assistant with tool_calls may leave it out");
  }
  if (content->is_array()) return check_parts(*content, where + ".content");
  if (!content->is_string()) refuse(where + ".content must be a string or a list of text parts");
}

}  // namespace

void validate_messages(const Json& messages) {
  if (!messages.is_array()) refuse("messages must be a list");
  if (messages.empty()) refuse("messages is empty; give at least one message");
  for (size_t i = 0; i < messages.size(); ++i) check_message(messages[i], "messages[" + std::to_string(i) + "]");
}

void validate_tools(const Json& tools) {
  if (tools.is_null()) return;
  if (!tools.is_array()) refuse("tools must be a list");
  for (size_t i = 0; i < tools.size(); ++i) {
    if (!tools[i].is_object()) refuse("tools[" + std::to_string(i) + "] must be an object");
  }
}

}  // namespace qwin
