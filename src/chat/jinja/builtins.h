// SPDX-License-Identifier: Apache-2.0
// The filters, tests, methods and functions a template may use; anything else is refused when the template is parsed.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "chat/jinja/value.h"

namespace qwin::jinja {

// Arguments of one call.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;

  // The argument at `position` or of that name; nullptr when it is not given.
  const Value* find(size_t position, std::string_view name) const;
  // Fails when there are more than `parameters`, or a name that is none of them.
  void check(const char* what, std::initializer_list<std::string_view> parameters) const;
};

// What a builtin may ask of the interpreter.
class Context {
 public:
  virtual ~Context() = default;
  virtual Budget& budget() = 0;
  // object[key]; what is not there is undefined.
  virtual Value get_item(const Value& object, const Value& key) = 0;
};

// -1 when there is none of that name.
int find_filter(std::string_view name);
int find_test(std::string_view name);
int find_function(std::string_view name);
bool is_method(std::string_view name);       // of any type
bool is_dict_method(std::string_view name);  // these hide keys of the same name, as in Python

Value call_filter(int filter, Context& context, const Value& value, const Args& args);
bool call_test(int test, Context& context, const Value& value, const Args& args);
Value call_method(const Value& object, std::string_view name, Context& context, const Args& args);

// Functions other than namespace(), which belongs to the interpreter.
Value call_function(int function, Context& context, const Args& args);
inline constexpr std::string_view kNamespaceFunction = "namespace";

// Text helpers that filters and methods share.
TextPtr change_case(const Text& text, char how,
                    Budget& budget);  // 'u'pper, 'l'ower, 't'itle, 'c'apitalize, 'T' title filter
TextPtr strip_text(const Text& text, const Value* chars, bool left, bool right);
TextPtr replace_text(const Text& text, const Text& from, const Text& to, Int count, Budget& budget);
TextPtr join_texts(const Text& separator, const List& items, bool convert, Budget& budget);

}  // namespace qwin::jinja
