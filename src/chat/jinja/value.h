// SPDX-License-Identifier: Apache-2.0
// The values a template computes with: Python's, as far as chat templates use them. Values are plain data; nothing of
// the program can be reached from one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "chat/jinja/text.h"
#include "io/json.h"

namespace qwin::jinja {

__extension__ typedef __int128 Int;  // holds every integer of a JSON document (int64 and uint64); overflow is an error

enum class Type : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  text,
  list,
  dict,
  space,
  loop,
  macro,
  function,
  method,
};

struct Value {
  Type type = Type::undefined;
  Int number = 0;  // boolean, integer; macro: its node; function: its index
  double real = 0;
  std::shared_ptr<Object> object;

  static Value none() { return {Type::none, 0, 0, nullptr}; }
  static Value boolean(bool b) { return {Type::boolean, b, 0, nullptr}; }
  static Value integer(Int i) { return {Type::integer, i, 0, nullptr}; }
  static Value floating(double d) { return {Type::real, 0, d, nullptr}; }
  static Value text(TextPtr t) { return {Type::text, 0, 0, std::move(t)}; }

  bool is(Type t) const { return type == t; }
  bool is_number() const { return type == Type::boolean || type == Type::integer || type == Type::real; }
  bool is_integral() const { return type == Type::boolean || type == Type::integer; }
  double as_double() const { return type == Type::real ? real : static_cast<double>(number); }
  Text& as_text() const { return static_cast<Text&>(*object); }
  TextPtr text_ptr() const { return std::static_pointer_cast<Text>(object); }
  std::string_view view() const { return as_text().view(); }
  struct List& as_list() const;
  struct Dict& as_dict() const;
  struct Space& as_space() const;
  struct Loop& as_loop() const;
};

// A Python list or something that iterates like one. The kinds differ in truth, length and indexing.
struct List final : Object {
  enum class Kind : uint8_t { list, tuple, range, view, generator };

  explicit List(Budget* budget, Kind k = Kind::list) : kind(k), charge(budget) {}
  void reserve(size_t count);
  void push(Value value);

  Kind kind;
  uint16_t depth = 1;
  std::vector<Value> items;
  Charge charge;
};

// Keys are texts, in insertion order.
struct Dict final : Object {
  explicit Dict(Budget* budget) : charge(budget) {}
  const Value* find(std::string_view key) const;
  void set(TextPtr key, Value value);

  uint16_t depth = 1;
  std::vector<std::pair<TextPtr, Value>> items;
  Charge charge;
};

// namespace(): the only thing a template can change. The interpreter owns them, so that cycles are broken at the end.
struct Space final : Object {
  explicit Space(Budget* budget) : charge(budget) {}
  std::vector<std::pair<int, Value>> attributes;  // by name id
  Charge charge;
};

struct Loop final : Object {
  std::shared_ptr<List> items;
  size_t index = 0;
};

inline List& Value::as_list() const { return static_cast<List&>(*object); }
inline Dict& Value::as_dict() const { return static_cast<Dict&>(*object); }
inline Space& Value::as_space() const { return static_cast<Space&>(*object); }
inline Loop& Value::as_loop() const { return static_cast<Loop&>(*object); }

// A fault of the rendering; the interpreter adds the line.
[[noreturn]] void fail(const std::string& what);

const char* type_name(const Value& value);  // as Python says it: "str", "NoneType"
bool truthy(const Value& value);
bool equals(const Value& a, const Value& b, Budget& budget);
// Below, equal, above as -1, 0, 1; values without an order fail.
int compare(const Value& a, const Value& b, Budget& budget);
// `needle in haystack`
bool contains(const Value& haystack, const Value& needle, Budget& budget);
size_t length(const Value& value);
// What iteration yields: the items, the keys, the characters.
std::shared_ptr<List> iterate(const Value& value, Budget& budget);

// str(value), as output shows it.
TextPtr to_text(const Value& value, Budget& budget);
std::string integer_text(Int value);
// repr(float): the shortest digits that read back the same, in Python's layout.
std::string float_text(double value);

// Strings of `json` are borrowed: the document must outlive the value.
Value from_json(const Json& json, Budget& budget);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool pretty = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// json.dumps(value); a value that JSON does not know fails.
TextPtr to_json(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace qwin::jinja
