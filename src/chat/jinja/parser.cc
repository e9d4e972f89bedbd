// SPDX-License-Identifier: Apache-2.0
#include "chat/jinja/parser.h"

#include <algorithm>
#include <utility>

#include "chat/jinja/builtins.h"

namespace qwin::jinja {

Ast parse_template(std::string_view source) { return Parser(source).parse(); }

Ast Parser::parse() {
  ast_.body = parse_body({});
  if (now().kind != TokenKind::end) fault("unexpected " + describe(now()));
  return std::move(ast_);
}

std::string Parser::describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::data: return "text";
    case TokenKind::block_begin: return "'{%'";
    case TokenKind::block_end: return "'%}'";
    case TokenKind::variable_begin: return "'{{'";
    case TokenKind::variable_end: return "'}}'";
    case TokenKind::string: return "a string";
    case TokenKind::end: return "the end of the template";
    default: return "'" + token.text.substr(0, 60) + "'";
  }
}

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) fault("expected '" + std::string(op) + "', got " + describe(now()));
}

void Parser::expect_kind(TokenKind kind, const char* what) {
  if (now().kind != kind) fault("expected " + std::string(what) + ", got " + describe(now()));
  ++at_;
}

std::string Parser::expect_name() {
  if (now().kind != TokenKind::name) fault("expected a name, got " + describe(now()));
  return tokens_[at_++].text;
}

int Parser::intern(std::string_view name) {
  const auto [entry, fresh] = name_ids_.try_emplace(std::string(name), static_cast<int>(ast_.names.size()));
  if (fresh) ast_.names.emplace_back(name);
  return entry->second;
}

Node Parser::make(NodeKind kind) const {
  Node node;
  node.kind = kind;
  node.line = now().line;
  return node;
}

// The interpreter recurses along the tree, so its depth is bounded here, where chains like a + a + ... show.
NodeId Parser::add(Node node) {
  int depth = 0;
  const auto consider = [&](NodeId child) {
    if (child != kNoNode) depth = std::max<int>(depth, ast_.nodes[static_cast<size_t>(child)].depth);
  };
  for (const NodeId child : {node.a, node.b, node.c}) consider(child);
  for (const NodeId child : node.list) consider(child);
  for (const NodeId child : node.list2) consider(child);
  if (depth >= kMaxNodeDepth) template_fault(node.line, "an expression or block is nested deeper than 100");
  node.depth = static_cast<uint16_t>(depth + 1);
  ast_.nodes.push_back(std::move(node));
  return static_cast<NodeId>(ast_.nodes.size()) - 1;
}

// Statements and text up to one of the end tags; stands on the tag's name then.
Parser::Body Parser::parse_body(std::initializer_list<std::string_view> end_tags) {
  DepthGuard guard(*this);
  Body body;
  while (now().kind != TokenKind::end) {
    if (now().kind == TokenKind::data) {
      Node node = make(NodeKind::data);
      node.value = Value::text(Text::make(nullptr, now().text, Origin::author));
      ++at_;
      body.push_back(add(std::move(node)));
    } else if (now().kind == TokenKind::variable_begin) {
      Node node = make(NodeKind::output);
      ++at_;
      node.a = parse_tuple(true, false);
      expect_kind(TokenKind::variable_end, "'}}'");
      body.push_back(add(std::move(node)));
    } else {
      expect_kind(TokenKind::block_begin, "'{%'");
      if (std::any_of(end_tags.begin(), end_tags.end(), [&](auto tag) { return is_name(tag); })) return body;
      body.push_back(parse_statement());
      end_tag();
    }
  }
  if (end_tags.size() > 0) fault("a block is not closed: expected '" + std::string(*end_tags.begin()) + "'");
  return body;
}

void Parser::end_tag() { expect_kind(TokenKind::block_end, "'%}'"); }

Parser::Body Parser::parse_block_body(std::initializer_list<std::string_view> end_tags) {
  skip_op(":");
  end_tag();
  return parse_body(end_tags);
}

NodeId Parser::parse_statement() {
  if (now().kind != TokenKind::name) fault("expected the name of a tag, got " + describe(now()));
  const std::string& tag = now().text;
  if (tag == "set") return parse_set();
  if (tag == "for") return parse_for();
  if (tag == "if") return parse_if();
  if (tag == "macro") return parse_macro();
  if (tag == "with") return parse_with();
  if (tag == "filter") return parse_filter_block();
  if (tag == "break") return parse_jump(NodeKind::break_loop);
  if (tag == "continue") return parse_jump(NodeKind::continue_loop);
  if (tag == "generation") return parse_generation();
  fault("the tag '" + tag + "' is not supported");
}

// Marks what the assistant wrote; renders as its body does. A loop cannot be left from inside.
NodeId Parser::parse_generation() {
  Node node = make(NodeKind::generation);
  ++at_;
  ++inner_scopes_;
  const int outer_loops = std::exchange(loops_, 0);
  node.list = parse_block_body({"endgeneration"});
  loops_ = outer_loops;
  --inner_scopes_;
  ++at_;
  return add(std::move(node));
}

NodeId Parser::parse_jump(NodeKind kind) {
  if (loops_ == 0) fault("'" + now().text + "' stands outside a loop");
  Node node = make(kind);
  ++at_;
  return add(std::move(node));
}

NodeId Parser::parse_target_item(bool with_namespace) {
  if (skip_op("(")) {
    const NodeId inner = parse_target(false, "");
    expect_op(")");
    return inner;
  }
  Node node = make(NodeKind::name);
  const std::string name = expect_name();
  for (const char* reserved : {"true", "false", "none", "True", "False", "None", "loop"}) {
    if (name == reserved) fault("'" + name + "' cannot be assigned to");
  }
  node.name = intern(name);
  if (with_namespace && skip_op(".")) {
    node.kind = NodeKind::namespace_target;
    node.name2 = intern(expect_name());
  }
  return add(std::move(node));
}

// One name, or several with commas; `end_name` ("in") may follow a last comma.
NodeId Parser::parse_target(bool with_namespace, std::string_view end_name) {
  DepthGuard guard(*this);
  Node tuple = make(NodeKind::tuple_literal);
  tuple.list.push_back(parse_target_item(with_namespace));
  if (!is_op(",")) return tuple.list[0];
  while (skip_op(",")) {
    if (is_name(end_name) || is_op("=") || is_op(")") || now().kind == TokenKind::block_end) break;
    tuple.list.push_back(parse_target_item(with_namespace));
  }
  return add(std::move(tuple));
}

NodeId Parser::parse_set() {
  Node node = make(NodeKind::set);
  ++at_;
  node.a = parse_target(true, "");
  if (skip_op("=")) {
    node.b = parse_tuple(true, false);
    return add(std::move(node));
  }
  node.kind = NodeKind::set_block;
  if (is_op("|")) node.b = parse_filters(add(make(NodeKind::captured)));
  ++inner_scopes_;
  node.list = parse_block_body({"endset"});
  --inner_scopes_;
  ++at_;
  return add(std::move(node));
}

NodeId Parser::parse_for() {
  Node node = make(NodeKind::for_loop);
  ++at_;
  node.a = parse_target(false, "in");
  if (!skip_name("in")) fault("expected 'in', got " + describe(now()));
  node.b = parse_tuple(false, false);
  if (skip_name("if")) node.c = parse_expression();
  if (is_name("recursive")) fault("'recursive' loops are not supported");
  ++inner_scopes_;
  ++loops_;
  node.list = parse_block_body({"endfor", "else"});
  --loops_;
  if (tokens_[at_++].text == "else") {
    node.list2 = parse_block_body({"endfor"});
    ++at_;
  }
  --inner_scopes_;
  return add(std::move(node));
}

NodeId Parser::parse_if() {
  Node chain = make(NodeKind::if_chain);
  while (true) {
    Node branch = make(NodeKind::branch);
    const bool last = now().text == "else";
    ++at_;
    if (!last) branch.a = parse_tuple(false, false);
    branch.list = last ? parse_block_body({"endif"}) : parse_block_body({"elif", "else", "endif"});
    chain.list.push_back(add(std::move(branch)));
    if (!is_name("endif")) continue;
    ++at_;
    return add(std::move(chain));
  }
}

// Macros live at the top, so that the scope they see is the template's own and outlives every call.
NodeId Parser::parse_macro() {
  if (inner_scopes_ > 0) fault("a macro inside a loop, macro or block is not supported");
  Node node = make(NodeKind::macro);
  ++at_;
  node.name = intern(expect_name());
  expect_op("(");
  while (!is_op(")")) {
    if (!node.names.empty()) expect_op(",");
    node.names.push_back(intern(expect_name()));
    if (skip_op("=")) {
      node.list2.push_back(parse_expression());
    } else {
      if (!node.list2.empty() && node.list2.back() != kNoNode) fault("a parameter without default follows one with");
      node.list2.push_back(kNoNode);
    }
  }
  expect_op(")");
  ++inner_scopes_;
  node.list = parse_block_body({"endmacro"});
  --inner_scopes_;
  ++at_;
  return add(std::move(node));
}

NodeId Parser::parse_with() {
  Node node = make(NodeKind::with_block);
  ++at_;
  while (now().kind != TokenKind::block_end) {
    if (!node.names.empty()) expect_op(",");
    node.names.push_back(intern(expect_name()));
    expect_op("=");
    node.list2.push_back(parse_expression());
  }
  ++inner_scopes_;
  node.list = parse_block_body({"endwith"});
  --inner_scopes_;
  ++at_;
  return add(std::move(node));
}

NodeId Parser::parse_filter_block() {
  Node node = make(NodeKind::filter_block);
  ++at_;
  const NodeId captured = add(make(NodeKind::captured));
  node.a = parse_filters(parse_filter(captured));
  ++inner_scopes_;
  node.list = parse_block_body({"endfilter"});
  --inner_scopes_;
  ++at_;
  return add(std::move(node));
}

}  // namespace qwin::jinja
