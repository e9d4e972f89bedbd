// SPDX-License-Identifier: Apache-2.0
#include "chat/jinja/value.h"

#include <algorithm>
#include <cmath>

namespace qwin::jinja {
namespace {

int depth_of(const Value& value) {
  if (value.is(Type::list)) return value.as_list().depth;
  if (value.is(Type::dict)) return value.as_dict().depth;
  return 0;
}

uint16_t nest(uint16_t depth, const Value& child) {
  const int nested = std::max<int>(depth, depth_of(child) + 1);
  if (nested > kMaxValueDepth) fail("values are nested too deep");
  return static_cast<uint16_t>(nested);
}

int order(auto a, auto b) { return a < b ? -1 : a > b ? 1 : 0; }

bool lists_equal(const List& a, const List& b, Budget& budget) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!equals(a.items[i], b.items[i], budget)) return false;
  }
  return true;
}

bool dicts_equal(const Dict& a, const Dict& b, Budget& budget) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    budget.work(b.items.size());
    const Value* other = b.find(key->view());
    if (!other || !equals(value, *other, budget)) return false;
  }
  return true;
}

}  // namespace

void fail(const std::string& what) { throw Error(ErrorCode::invalid_argument, what); }

void List::reserve(size_t count) {
  charge.set(sizeof(List) + count * sizeof(Value));
  items.reserve(count);
}

void List::push(Value value) {
  depth = nest(depth, value);
  if (items.size() == items.capacity()) reserve(items.empty() ? 4 : items.size() * 2);
  items.push_back(std::move(value));
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    if (name->view() == key) return &value;
  }
  return nullptr;
}

void Dict::set(TextPtr key, Value value) {
  depth = nest(depth, value);
  for (auto& [name, old] : items) {
    if (name->view() == key->view()) {
      old = std::move(value);
      return;
    }
  }
  if (items.size() == items.capacity()) {
    const size_t capacity = items.empty() ? 4 : items.size() * 2;
    charge.set(sizeof(Dict) + capacity * sizeof(items[0]));
    items.reserve(capacity);
  }
  items.emplace_back(std::move(key), std::move(value));
}

const char* type_name(const Value& value) {
  switch (value.type) {
    case Type::undefined: return "Undefined";
    case Type::none: return "NoneType";
    case Type::boolean: return "bool";
    case Type::integer: return "int";
    case Type::real: return "float";
    case Type::text: return "str";
    case Type::list: {
      static constexpr const char* kNames[] = {"list", "tuple", "range", "dict_items", "generator"};
      return kNames[static_cast<int>(value.as_list().kind)];
    }
    case Type::dict: return "dict";
    case Type::space: return "Namespace";
    case Type::loop: return "LoopContext";
    case Type::macro: return "Macro";
    case Type::function: return "function";
    case Type::method: return "method";
  }
  return "value";
}

bool truthy(const Value& value) {
  switch (value.type) {
    case Type::undefined:
    case Type::none: return false;
    case Type::boolean:
    case Type::integer: return value.number != 0;
    case Type::real: return value.real != 0;
    case Type::text: return !value.view().empty();
    case Type::list: return value.as_list().kind == List::Kind::generator || !value.as_list().items.empty();
    case Type::dict: return !value.as_dict().items.empty();
    default: return true;
  }
}

bool equals(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_integral() && b.is_integral()) return a.number == b.number;
  if (a.is_number() && b.is_number()) {
    return static_cast<long double>(a.is(Type::real) ? a.real : static_cast<long double>(a.number)) ==
           static_cast<long double>(b.is(Type::real) ? b.real : static_cast<long double>(b.number));
  }
  if (a.type != b.type) return false;
  switch (a.type) {
    case Type::undefined:
    case Type::none: return true;
    case Type::text: budget.work(std::min(a.view().size(), b.view().size())); return a.view() == b.view();
    case Type::list: return a.object == b.object || lists_equal(a.as_list(), b.as_list(), budget);
    case Type::dict: return a.object == b.object || dicts_equal(a.as_dict(), b.as_dict(), budget);
    case Type::macro:
    case Type::function: return a.number == b.number;
    default: return a.object == b.object;
  }
}

int compare(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_integral() && b.is_integral()) return order(a.number, b.number);
  if (a.is_number() && b.is_number()) {
    if (std::isnan(a.as_double()) || std::isnan(b.as_double())) fail("NaN has no order");
    return order(a.as_double(), b.as_double());
  }
  if (a.is(Type::text) && b.is(Type::text)) {
    budget.work(std::min(a.view().size(), b.view().size()));
    return order(a.view().compare(b.view()), 0);
  }
  if (a.is(Type::list) && b.is(Type::list) && a.as_list().kind == b.as_list().kind) {
    const auto& x = a.as_list().items;
    const auto& y = b.as_list().items;
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!equals(x[i], y[i], budget)) return compare(x[i], y[i], budget);
    }
    return order(x.size(), y.size());
  }
  fail(std::string("'") + type_name(a) + "' and '" + type_name(b) + "' have no order");
}

bool contains(const Value& haystack, const Value& needle, Budget& budget) {
  switch (haystack.type) {
    case Type::text:
      if (!needle.is(Type::text)) fail(std::string("'in <string>' requires a string, not ") + type_name(needle));
      budget.work(haystack.view().size());
      return haystack.view().find(needle.view()) != std::string_view::npos;
    case Type::list:
      for (const Value& item : haystack.as_list().items) {
        if (equals(item, needle, budget)) return true;
      }
      return false;
    case Type::dict:
      budget.work(haystack.as_dict().items.size());
      return needle.is(Type::text) && haystack.as_dict().find(needle.view());
    case Type::undefined: return false;
    default: fail(std::string("'in' does not work on '") + type_name(haystack) + "'");
  }
}

size_t length(const Value& value) {
  switch (value.type) {
    case Type::undefined: return 0;
    case Type::text: return count_chars(value.view());
    case Type::list:
      if (value.as_list().kind == List::Kind::generator) break;
      return value.as_list().items.size();
    case Type::dict: return value.as_dict().items.size();
    case Type::loop: return value.as_loop().items->items.size();
    default: break;
  }
  fail(std::string("'") + type_name(value) + "' has no length");
}

std::shared_ptr<List> iterate(const Value& value, Budget& budget) {
  if (value.is(Type::list)) return std::static_pointer_cast<List>(value.object);
  auto list = std::make_shared<List>(&budget, List::Kind::generator);
  if (value.is(Type::dict)) {
    budget.work(value.as_dict().items.size());
    for (const auto& [key, item] : value.as_dict().items) list->push(Value::text(key));
  } else if (value.is(Type::text)) {
    const Text& text = value.as_text();
    for (size_t i = 0; i < text.size();) {
      budget.step();
      const size_t length = char_length(text.view(), i);
      auto part = std::make_shared<Text>(&budget);
      part->append(text, i, i + length);
      list->push(Value::text(std::move(part)));
      i += length;
    }
  } else if (!value.is(Type::undefined)) {
    fail(std::string("'") + type_name(value) + "' is not iterable");
  }
  return list;
}

}  // namespace qwin::jinja
