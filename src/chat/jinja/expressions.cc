// SPDX-License-Identifier: Apache-2.0
// Expressions: names, attributes, operators, calls.
#include <cmath>
#include <utility>

#include "chat/jinja/interpreter.h"
#include "core/check.h"
#include "core/printable.h"

namespace qwin::jinja {

Value Interpreter::evaluate_node(const Node& e) {
  switch (e.kind) {
    case NodeKind::constant: return e.value;
    case NodeKind::name: return look_up(e.name);
    case NodeKind::list_literal:
    case NodeKind::tuple_literal: return list_literal(e);
    case NodeKind::dict_literal: return dict_literal(e);
    case NodeKind::get_attribute: return get_attribute(evaluate(e.a), name_of(e.name));
    case NodeKind::get_item: {
      const Value object = evaluate(e.a);
      return get_item(object, evaluate(e.b));
    }
    case NodeKind::slice: return slice(e);
    case NodeKind::call: return call(e);
    case NodeKind::filter: {
      const Value operand = evaluate(e.a);
      return call_filter(e.builtin, *this, operand, evaluate_arguments(e));
    }
    case NodeKind::test: {
      const Value operand = evaluate(e.a);
      return Value::boolean(call_test(e.builtin, *this, operand, evaluate_arguments(e)));
    }
    case NodeKind::not_op: return Value::boolean(!truthy(evaluate(e.a)));
    case NodeKind::negate: return number_op(Op::sub, Value::integer(0), evaluate(e.a));
    case NodeKind::plus: return number_op(Op::add, Value::integer(0), evaluate(e.a));
    case NodeKind::binary: return binary(e);
    case NodeKind::and_op: {
      Value left = evaluate(e.a);
      return truthy(left) ? evaluate(e.b) : left;
    }
    case NodeKind::or_op: {
      Value left = evaluate(e.a);
      return truthy(left) ? left : evaluate(e.b);
    }
    case NodeKind::compare: return Value::boolean(compare_chain(e));
    case NodeKind::concat: return concat(e);
    case NodeKind::condition:
      if (truthy(evaluate(e.b))) return evaluate(e.a);
      return e.c == kNoNode ? Value() : evaluate(e.c);
    case NodeKind::captured: return captured_.back();
    default: break;
  }
  QWIN_CHECK(false && "an expression");
  return {};
}

Value Interpreter::look_up(int name) {
  for (const Scope* scope = scope_; scope; scope = scope->parent) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return value;
    }
  }
  const int function = find_function(name_of(name));
  return function >= 0 ? Value{Type::function, function, 0, nullptr} : Value();
}

Value Interpreter::list_literal(const Node& e) {
  auto list =
      std::make_shared<List>(&budget_, e.kind == NodeKind::tuple_literal ? List::Kind::tuple : List::Kind::list);
  for (const NodeId item : e.list) list->push(evaluate(item));
  return {Type::list, 0, 0, std::move(list)};
}

Value Interpreter::dict_literal(const Node& e) {
  auto dict = std::make_shared<Dict>(&budget_);
  for (size_t i = 0; i < e.list.size(); ++i) {
    const Value key = evaluate(e.list[i]);
    if (!key.is(Type::text)) fail(std::string("a dict key of type '") + type_name(key) + "' is not supported");
    dict->set(key.text_ptr(), evaluate(e.list2[i]));
  }
  return {Type::dict, 0, 0, std::move(dict)};
}

Value Interpreter::concat(const Node& e) {
  auto text = std::make_shared<Text>(&budget_);
  for (const NodeId part : e.list) text->append(*to_text(evaluate(part), budget_));
  return Value::text(std::move(text));
}

// object["key"]: items only. What is not there is undefined.
Value Interpreter::get_item(const Value& object, const Value& key) {
  if (object.is(Type::undefined)) fail("an undefined value has no items");
  if (object.is(Type::dict)) {
    budget_.work(object.as_dict().items.size() * 8);
    const Value* found = key.is(Type::text) ? object.as_dict().find(key.view()) : nullptr;
    return found ? *found : Value();
  }
  if (key.is(Type::text)) {
    return object.is(Type::list) || object.is(Type::text) ? Value() : get_attribute(object, key.view());
  }
  if (!key.is_integral()) return Value();
  if (object.is(Type::text) || (object.is(Type::list) && object.as_list().kind <= List::Kind::range)) {
    const Int size = static_cast<Int>(length(object));
    const Int index = key.number < 0 ? key.number + size : key.number;
    if (index < 0 || index >= size) return Value();
    if (object.is(Type::list)) return object.as_list().items[static_cast<size_t>(index)];
    const Value start = Value::integer(index);
    const Value stop = Value::integer(index + 1);
    return slice_value(object, &start, &stop, nullptr, budget_);
  }
  return Value();
}

// object.name: methods first, as Python has it, then items.
Value Interpreter::get_attribute(const Value& object, std::string_view name) {
  switch (object.type) {
    case Type::undefined: fail("an undefined value has no attribute " + printable(name));
    case Type::dict: {
      if (is_dict_method(name)) return {Type::method, 0, 0, nullptr};
      budget_.work(object.as_dict().items.size() * 8);
      const Value* found = object.as_dict().find(name);
      return found ? *found : Value();
    }
    case Type::space: {
      for (const auto& [known, value] : object.as_space().attributes) {
        if (name_of(known) == name) return value;
      }
      return Value();
    }
    case Type::loop: return loop_attribute(object.as_loop(), name);
    case Type::text:
    case Type::list:
      if (is_method(name)) fail("the method '" + std::string(name) + "' can only be called");
      return Value();
    default: return Value();
  }
}

Value Interpreter::loop_attribute(const Loop& loop, std::string_view name) {
  const auto& items = loop.items->items;
  const Int index = static_cast<Int>(loop.index);
  const Int count = static_cast<Int>(items.size());
  if (name == "index") return Value::integer(index + 1);
  if (name == "index0") return Value::integer(index);
  if (name == "revindex") return Value::integer(count - index);
  if (name == "revindex0") return Value::integer(count - index - 1);
  if (name == "first") return Value::boolean(index == 0);
  if (name == "last") return Value::boolean(index + 1 == count);
  if (name == "length") return Value::integer(count);
  if (name == "depth") return Value::integer(1);  // counts recursive loops only, and there are none
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem") return index > 0 ? items[loop.index - 1] : Value();
  if (name == "nextitem") return index + 1 < count ? items[loop.index + 1] : Value();
  return Value();
}

Value Interpreter::slice(const Node& e) {
  const Value object = evaluate(e.a);
  Value parts[3];
  const Value* given[3] = {nullptr, nullptr, nullptr};
  for (size_t i = 0; i < 3; ++i) {
    if (e.list[i] == kNoNode) continue;
    parts[i] = evaluate(e.list[i]);
    if (parts[i].is(Type::none)) continue;
    if (!parts[i].is_integral()) fail("slice indices must be integers");
    given[i] = &parts[i];
  }
  return slice_value(object, given[0], given[1], given[2], budget_);
}

Value Interpreter::binary(const Node& e) {
  Value left = evaluate(e.a);
  const Value right = evaluate(e.b);
  if (e.op == Op::add) return add(std::move(left), right);
  if (e.op == Op::mul) return multiply(left, right);
  return number_op(e.op, left, right);
}

Value Interpreter::add(Value left, const Value& right) {
  if (left.is(Type::text) && right.is(Type::text)) {
    TextPtr sum = left.text_ptr();
    left.object.reset();
    // A temporary of this very expression can be extended in place: a chain of n additions is linear then.
    if (sum.use_count() > 1 || !sum->budget()) {
      auto copy = std::make_shared<Text>(&budget_);
      copy->append(*sum);
      sum = std::move(copy);
    }
    sum->append(right.as_text());
    return Value::text(std::move(sum));
  }
  if (left.is(Type::list) && right.is(Type::list) && left.as_list().kind <= List::Kind::tuple &&
      left.as_list().kind == right.as_list().kind) {
    auto sum = std::make_shared<List>(&budget_, left.as_list().kind);
    budget_.work(left.as_list().items.size() + right.as_list().items.size());
    sum->reserve(left.as_list().items.size() + right.as_list().items.size());
    for (const Value& item : left.as_list().items) sum->push(item);
    for (const Value& item : right.as_list().items) sum->push(item);
    return {Type::list, 0, 0, std::move(sum)};
  }
  return number_op(Op::add, left, right);
}

Value Interpreter::multiply(const Value& left, const Value& right) {
  if (left.is_integral() && (right.is(Type::text) || right.is(Type::list))) return multiply(right, left);
  if (!right.is_integral() || left.is_number()) return number_op(Op::mul, left, right);
  const Int times = right.number < 0 ? 0 : right.number;
  if (left.is(Type::text)) {
    auto text = std::make_shared<Text>(&budget_);
    for (Int i = 0; i < times && !left.view().empty(); ++i) text->append(left.as_text());
    return Value::text(std::move(text));
  }
  if (left.is(Type::list) && left.as_list().kind <= List::Kind::tuple) {
    auto list = std::make_shared<List>(&budget_, left.as_list().kind);
    const auto& items = left.as_list().items;
    for (Int i = 0; i < times && !items.empty(); ++i) {
      budget_.work(items.size());
      for (const Value& item : items) list->push(item);
    }
    return {Type::list, 0, 0, std::move(list)};
  }
  return number_op(Op::mul, left, right);
}

bool Interpreter::compare_chain(const Node& e) {
  Value left = evaluate(e.a);
  for (size_t i = 0; i < e.ops.size(); ++i) {
    Value right = evaluate(e.list[i]);
    if (!compare_pair(e.ops[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

bool Interpreter::compare_pair(Op op, const Value& left, const Value& right) {
  switch (op) {
    case Op::eq: return equals(left, right, budget_);
    case Op::ne: return !equals(left, right, budget_);
    case Op::in: return contains(right, left, budget_);
    case Op::not_in: return !contains(right, left, budget_);
    default: break;
  }
  const int order = compare(left, right, budget_);
  return op == Op::lt ? order < 0 : op == Op::le ? order <= 0 : op == Op::gt ? order > 0 : order >= 0;
}

Args Interpreter::evaluate_arguments(const Node& e) {
  Args args;
  for (const NodeId argument : e.list) args.positional.push_back(evaluate(argument));
  for (size_t i = 0; i < e.names.size(); ++i) args.named.emplace_back(name_of(e.names[i]), evaluate(e.list2[i]));
  return args;
}

Value Interpreter::call(const Node& e) {
  const Node& callee = node(e.a);
  if (callee.kind == NodeKind::name) {
    const Value function = look_up(callee.name);
    return call_value(function, name_of(callee.name), evaluate_arguments(e));
  }
  const Value object = evaluate(callee.a);
  const std::string& name = name_of(callee.name);
  if (object.is(Type::undefined)) fail("an undefined value has no method '" + name + "'");
  if (object.is(Type::space)) return call_value(get_attribute(object, name), name, evaluate_arguments(e));
  return call_method(object, name, *this, evaluate_arguments(e));
}

Value Interpreter::call_value(const Value& callee, std::string_view name, const Args& args) {
  if (callee.is(Type::macro)) return call_macro(node(static_cast<NodeId>(callee.number)), args);
  if (callee.is(Type::function)) {
    return callee.number == find_function(kNamespaceFunction)
               ? make_namespace(args)
               : call_function(static_cast<int>(callee.number), *this, args);
  }
  fail("'" + std::string(name.substr(0, 60)) + "' is " + (callee.is(Type::undefined) ? "undefined" : "no function"));
}

Value Interpreter::make_namespace(const Args& args) {
  auto space = std::make_shared<Space>(&budget_);
  spaces_.push_back(space);
  const auto set = [&](std::string_view name, const Value& value) {
    const int id = ast_.find_name(name);
    if (id >= 0) space->attributes.emplace_back(id, value);  // a name the template never mentions cannot be asked for
  };
  if (args.positional.size() > 1 || (args.positional.size() == 1 && !args.positional[0].is(Type::dict))) {
    fail("namespace() takes named values or one dict");
  }
  if (!args.positional.empty()) {
    for (const auto& [key, value] : args.positional[0].as_dict().items) set(key->view(), value);
  }
  for (const auto& [name, value] : args.named) set(name, value);
  space->charge.set(sizeof(Space) + space->attributes.capacity() * sizeof(space->attributes[0]));
  return {Type::space, 0, 0, std::move(space)};
}

}  // namespace qwin::jinja
