// SPDX-License-Identifier: Apache-2.0
// Expressions, in jinja2's order of binding.
#include <charconv>

#include "chat/jinja/builtins.h"
#include "chat/jinja/parser.h"

namespace qwin::jinja {

NodeId Parser::constant(Value value) {
  Node node = make(NodeKind::constant);
  node.value = std::move(value);
  return add(std::move(node));
}

NodeId Parser::binary(Op op, NodeId left, NodeId right) {
  Node node = make(NodeKind::binary);
  node.op = op;
  node.a = left;
  node.b = right;
  return add(std::move(node));
}

NodeId Parser::parse_expression() {
  DepthGuard guard(*this);
  NodeId value = parse_or();
  while (skip_name("if")) {
    Node node = make(NodeKind::condition);
    node.a = value;
    node.b = parse_or();
    if (skip_name("else")) node.c = parse_expression();
    value = add(std::move(node));
  }
  return value;
}

// One expression, or several with commas as a tuple.
NodeId Parser::parse_tuple(bool with_condition, bool may_be_empty) {
  Node tuple = make(NodeKind::tuple_literal);
  bool comma = false;
  while (true) {
    const bool ended = now().kind == TokenKind::variable_end || now().kind == TokenKind::block_end || is_op(")");
    if (ended) break;
    tuple.list.push_back(with_condition ? parse_expression() : parse_or());
    if (!skip_op(",")) break;
    comma = true;
  }
  if (!comma && !tuple.list.empty()) return tuple.list[0];
  if (tuple.list.empty() && !may_be_empty) fault("expected an expression, got " + describe(now()));
  return add(std::move(tuple));
}

NodeId Parser::parse_or() {
  NodeId left = parse_and();
  while (is_name("or")) {
    Node node = make(NodeKind::or_op);
    ++at_;
    node.a = left;
    node.b = parse_and();
    left = add(std::move(node));
  }
  return left;
}

NodeId Parser::parse_and() {
  NodeId left = parse_not();
  while (is_name("and")) {
    Node node = make(NodeKind::and_op);
    ++at_;
    node.a = left;
    node.b = parse_not();
    left = add(std::move(node));
  }
  return left;
}

NodeId Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  DepthGuard guard(*this);
  Node node = make(NodeKind::not_op);
  ++at_;
  node.a = parse_not();
  return add(std::move(node));
}

bool Parser::parse_compare_op(Op& op) {
  static constexpr std::pair<std::string_view, Op> kOps[] = {{"==", Op::eq}, {"!=", Op::ne}, {"<", Op::lt},
                                                             {"<=", Op::le}, {">", Op::gt},  {">=", Op::ge}};
  for (const auto& [text, value] : kOps) {
    if (!skip_op(text)) continue;
    op = value;
    return true;
  }
  if (skip_name("in")) {
    op = Op::in;
    return true;
  }
  if (is_name("not") && ahead().kind == TokenKind::name && ahead().text == "in") {
    at_ += 2;
    op = Op::not_in;
    return true;
  }
  return false;
}

NodeId Parser::parse_compare() {
  Node node = make(NodeKind::compare);
  node.a = parse_sum();
  Op op;
  while (parse_compare_op(op)) {
    node.ops.push_back(op);
    node.list.push_back(parse_sum());
  }
  return node.ops.empty() ? node.a : add(std::move(node));
}

NodeId Parser::parse_sum() {
  NodeId left = parse_concat();
  while (is_op("+") || is_op("-")) {
    const Op op = tokens_[at_++].text == "+" ? Op::add : Op::sub;
    left = binary(op, left, parse_concat());
  }
  return left;
}

NodeId Parser::parse_concat() {
  Node node = make(NodeKind::concat);
  node.list.push_back(parse_product());
  while (skip_op("~")) node.list.push_back(parse_product());
  return node.list.size() == 1 ? node.list[0] : add(std::move(node));
}

NodeId Parser::parse_product() {
  NodeId left = parse_power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    const std::string& text = tokens_[at_++].text;
    const Op op = text == "*" ? Op::mul : text == "/" ? Op::div : text == "//" ? Op::floordiv : Op::mod;
    left = binary(op, left, parse_power());
  }
  return left;
}

NodeId Parser::parse_power() {
  NodeId left = parse_unary(true);
  while (skip_op("**")) left = binary(Op::pow, left, parse_unary(true));
  return left;
}

NodeId Parser::parse_unary(bool with_filter) {
  NodeId node;
  if (is_op("-") || is_op("+")) {
    DepthGuard guard(*this);
    Node sign = make(is_op("-") ? NodeKind::negate : NodeKind::plus);
    ++at_;
    sign.a = parse_unary(false);
    node = add(std::move(sign));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(node);
  return with_filter ? parse_filters(node) : node;
}

NodeId Parser::parse_primary() {
  const Token& token = now();
  switch (token.kind) {
    case TokenKind::name: {
      Node node = make(NodeKind::name);
      ++at_;
      if (token.text == "true" || token.text == "True") return constant(Value::boolean(true));
      if (token.text == "false" || token.text == "False") return constant(Value::boolean(false));
      if (token.text == "none" || token.text == "None") return constant(Value::none());
      for (const char* refused : {"varargs", "kwargs", "caller", "cycler", "joiner", "lipsum", "self", "super"}) {
        if (token.text == refused) template_fault(token.line, "'" + token.text + "' is not supported");
      }
      node.name = intern(token.text);
      return add(std::move(node));
    }
    case TokenKind::string: return parse_string();
    case TokenKind::integer: {
      int64_t value = 0;
      const auto result = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      if (result.ec != std::errc()) fault("the number " + token.text.substr(0, 40) + " is too large");
      ++at_;
      return constant(Value::integer(value));
    }
    case TokenKind::real: {
      double value = 0;
      const auto result = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      if (result.ec != std::errc()) fault("the number " + token.text.substr(0, 40) + " is out of range");
      ++at_;
      return constant(Value::floating(value));
    }
    default: break;
  }
  if (skip_op("(")) {
    const NodeId inner = parse_tuple(true, true);
    expect_op(")");
    return inner;
  }
  if (is_op("[")) return parse_list();
  if (is_op("{")) return parse_dict();
  fault("expected an expression, got " + describe(token));
}

// Neighbouring literals are one string, as in Python.
NodeId Parser::parse_string() {
  std::string text;
  Node node = make(NodeKind::constant);
  while (now().kind == TokenKind::string) text += tokens_[at_++].text;
  node.value = Value::text(Text::make(nullptr, text, Origin::author));
  return add(std::move(node));
}

NodeId Parser::parse_list() {
  Node node = make(NodeKind::list_literal);
  expect_op("[");
  while (!is_op("]")) {
    node.list.push_back(parse_expression());
    if (!skip_op(",")) break;
  }
  expect_op("]");
  return add(std::move(node));
}

NodeId Parser::parse_dict() {
  Node node = make(NodeKind::dict_literal);
  expect_op("{");
  while (!is_op("}")) {
    node.list.push_back(parse_expression());
    expect_op(":");
    node.list2.push_back(parse_expression());
    if (!skip_op(",")) break;
  }
  expect_op("}");
  return add(std::move(node));
}

NodeId Parser::parse_postfix(NodeId node) {
  while (true) {
    if (is_op(".") || is_op("["))
      node = parse_subscript(node);
    else if (is_op("("))
      node = parse_call(node);
    else
      return node;
  }
}

NodeId Parser::parse_subscript(NodeId object) {
  Node node = make(NodeKind::get_item);
  node.a = object;
  if (skip_op(".")) {
    if (now().kind == TokenKind::integer) {
      node.b = parse_primary();
    } else {
      node.kind = NodeKind::get_attribute;
      node.name = intern(expect_name());
    }
    return add(std::move(node));
  }
  expect_op("[");
  node.list.assign(3, kNoNode);
  size_t part = 0;
  while (!is_op("]")) {
    if (skip_op(":")) {
      node.kind = NodeKind::slice;
      if (++part > 2) fault("a slice has at most three parts");
    } else if (node.list[part] == kNoNode) {
      node.list[part] = parse_expression();
    } else {
      fault("expected ']', got " + describe(now()));
    }
  }
  expect_op("]");
  if (node.kind == NodeKind::get_item) {
    if (node.list[0] == kNoNode) fault("expected an expression in '[]'");
    node.b = node.list[0];
    node.list.clear();
  }
  return add(std::move(node));
}

NodeId Parser::parse_call(NodeId callee) {
  Node node = make(NodeKind::call);
  node.a = callee;
  const Node& called = ast_.nodes[static_cast<size_t>(callee)];
  if (called.kind == NodeKind::get_attribute) {
    const std::string& method = ast_.names[static_cast<size_t>(called.name)];
    if (!is_method(method)) fault("the method '" + method.substr(0, 60) + "' is not supported");
  } else if (called.kind != NodeKind::name) {
    fault("only names and methods can be called");
  }
  parse_arguments(node);
  return add(std::move(node));
}

void Parser::parse_arguments(Node& node) {
  expect_op("(");
  while (!is_op(")")) {
    if (is_op("*") || is_op("**")) fault("'" + now().text + "' arguments are not supported");
    if (now().kind == TokenKind::name && ahead().kind == TokenKind::op && ahead().text == "=") {
      node.names.push_back(intern(now().text));
      at_ += 2;
      node.list2.push_back(parse_expression());
    } else {
      if (!node.names.empty()) fault("a positional argument follows a named one");
      node.list.push_back(parse_expression());
    }
    if (!skip_op(",")) break;
  }
  expect_op(")");
}

NodeId Parser::parse_filters(NodeId node) {
  while (true) {
    if (skip_op("|"))
      node = parse_filter(node);
    else if (is_name("is"))
      node = parse_test(node);
    else if (is_op("("))
      node = parse_call(node);
    else
      return node;
  }
}

NodeId Parser::parse_filter(NodeId operand) {
  Node node = make(NodeKind::filter);
  node.a = operand;
  const std::string name = expect_name();
  node.builtin = find_filter(name);
  if (node.builtin < 0) template_fault(node.line, "the filter '" + name.substr(0, 60) + "' is not supported");
  if (is_op("(")) parse_arguments(node);
  return add(std::move(node));
}

NodeId Parser::parse_test(NodeId operand) {
  Node node = make(NodeKind::test);
  node.a = operand;
  ++at_;
  const bool negated = skip_name("not");
  const std::string name = expect_name();
  node.builtin = find_test(name);
  if (node.builtin < 0) template_fault(node.line, "the test '" + name.substr(0, 60) + "' is not supported");
  const bool word = now().kind == TokenKind::name && !is_name("else") && !is_name("or") && !is_name("and");
  if (is_op("(")) {
    parse_arguments(node);
  } else if (word || now().kind == TokenKind::string || now().kind == TokenKind::integer ||
             now().kind == TokenKind::real || is_op("[") || is_op("{")) {
    if (is_name("is")) fault("tests cannot be chained with 'is'");
    node.list.push_back(parse_postfix(parse_primary()));
  }
  const NodeId test = add(std::move(node));
  if (!negated) return test;
  Node negation = make(NodeKind::not_op);
  negation.a = test;
  return add(std::move(negation));
}

}  // namespace qwin::jinja
