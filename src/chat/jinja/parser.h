// SPDX-License-Identifier: Apache-2.0
// Recursive descent over the tokens, with a depth counter; shared by parser.cc (statements) and parser_expressions.cc.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/lexer.h"

namespace qwin::jinja {

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}
  Ast parse();

 private:
  // Tokens.
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  bool is_op(std::string_view op) const { return now().kind == TokenKind::op && now().text == op; }
  bool is_name(std::string_view name) const { return now().kind == TokenKind::name && now().text == name; }
  bool skip_op(std::string_view op) { return is_op(op) ? (++at_, true) : false; }
  bool skip_name(std::string_view name) { return is_name(name) ? (++at_, true) : false; }
  void expect_op(std::string_view op);
  void expect_kind(TokenKind kind, const char* what);
  std::string expect_name();
  [[noreturn]] void fault(const std::string& what) const { template_fault(now().line, what); }
  static std::string describe(const Token& token);

  // Nodes.
  int intern(std::string_view name);
  Node make(NodeKind kind) const;
  NodeId add(Node node);

  // Statements.
  using Body = std::vector<NodeId>;
  Body parse_body(std::initializer_list<std::string_view> end_tags);
  Body parse_block_body(std::initializer_list<std::string_view> end_tags);
  void end_tag();
  NodeId parse_statement();
  NodeId parse_set();
  NodeId parse_for();
  NodeId parse_if();
  NodeId parse_macro();
  NodeId parse_with();
  NodeId parse_filter_block();
  NodeId parse_generation();
  NodeId parse_jump(NodeKind kind);
  NodeId parse_target(bool with_namespace, std::string_view end_name);
  NodeId parse_target_item(bool with_namespace);

  // Expressions, loosest binding first.
  NodeId parse_expression();
  NodeId parse_tuple(bool with_condition, bool may_be_empty);
  NodeId parse_or();
  NodeId parse_and();
  NodeId parse_not();
  NodeId parse_compare();
  bool parse_compare_op(Op& op);
  NodeId parse_sum();
  NodeId parse_concat();
  NodeId parse_product();
  NodeId parse_power();
  NodeId parse_unary(bool with_filter);
  NodeId parse_primary();
  NodeId parse_string();
  NodeId parse_list();
  NodeId parse_dict();
  NodeId parse_postfix(NodeId node);
  NodeId parse_subscript(NodeId node);
  NodeId parse_call(NodeId node);
  void parse_arguments(Node& node);
  NodeId parse_filters(NodeId node);
  NodeId parse_filter(NodeId node);
  NodeId parse_test(NodeId node);
  NodeId binary(Op op, NodeId left, NodeId right);
  NodeId constant(Value value);

  struct DepthGuard {
    explicit DepthGuard(Parser& p) : parser(p) {
      if (++parser.depth_ > kMaxNodeDepth) parser.fault("tags or brackets are nested deeper than 100");
    }
    ~DepthGuard() { --parser.depth_; }
    Parser& parser;
  };

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;         // for loops around the current statement
  int inner_scopes_ = 0;  // loops, macros and blocks around it
  Ast ast_;
  std::unordered_map<std::string, int> name_ids_;
};

}  // namespace qwin::jinja
