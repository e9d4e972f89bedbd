// SPDX-License-Identifier: Apache-2.0
// Runs a parsed template once. Holds all that the run allocates; used by one thread.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/builtins.h"

namespace qwin::jinja {

class Interpreter final : public Context {
 public:
  Interpreter(const Ast& ast, Budget& budget) : ast_(ast), budget_(budget) {}
  ~Interpreter() override;
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // A variable the template sees. Names it does not mention are dropped.
  void define(std::string_view name, Value value);
  // Throws Error(invalid_argument), with the line where it was not the template's own raise_exception.
  TextPtr run();

  Budget& budget() override { return budget_; }
  Value get_item(const Value& object, const Value& key) override;

 private:
  enum class Flow : uint8_t { next, break_loop, continue_loop };
  struct Scope {
    Scope* parent = nullptr;
    std::vector<std::pair<int, Value>> variables;  // by name id
  };
  struct DepthGuard;

  const Node& node(NodeId id) const { return ast_.nodes[static_cast<size_t>(id)]; }
  const std::string& name_of(int id) const { return ast_.names[static_cast<size_t>(id)]; }

  // Statements.
  Flow run_body(const std::vector<NodeId>& body);
  Flow run_statement(const Node& statement);
  Flow run_for(const Node& loop);
  Flow run_loop_items(const Node& loop, std::shared_ptr<List> items);
  std::shared_ptr<List> filter_items(const Node& loop, const List& items);
  Flow run_if(const Node& chain);
  void run_set_block(const Node& block);
  void run_with(const Node& block);
  TextPtr capture(const std::vector<NodeId>& body);
  TextPtr capture_scoped(const std::vector<NodeId>& body);
  void assign(NodeId target, const Value& value);
  void assign_name(Scope& scope, int name, Value value);
  void assign_attribute(const Node& target, const Value& value);

  // Expressions.
  Value evaluate(NodeId id);
  Value evaluate_node(const Node& expression);
  Value look_up(int name);
  Value get_attribute(const Value& object, std::string_view name);
  Value loop_attribute(const Loop& loop, std::string_view name);
  Value slice(const Node& expression);
  Value binary(const Node& expression);
  Value add(Value left, const Value& right);
  Value multiply(const Value& left, const Value& right);
  bool compare_chain(const Node& expression);
  bool compare_pair(Op op, const Value& left, const Value& right);
  Value list_literal(const Node& expression);
  Value dict_literal(const Node& expression);
  Value concat(const Node& expression);
  Value call(const Node& expression);
  Value call_value(const Value& callee, std::string_view name, const Args& args);
  Value call_macro(const Node& macro, const Args& args);
  Value make_namespace(const Args& args);
  Args evaluate_arguments(const Node& expression);

  const Ast& ast_;
  Budget& budget_;
  Scope root_;
  Scope* scope_ = &root_;
  TextPtr out_;
  std::vector<Value> captured_;  // the bodies of the filter blocks being evaluated
  std::vector<std::shared_ptr<Space>> spaces_;
  int depth_ = 0;
  int line_ = 1;
};

// Arithmetic on numbers, Python's rules.
Value number_op(Op op, const Value& left, const Value& right);
Value slice_value(const Value& object, const Value* start, const Value* stop, const Value* step, Budget& budget);

// What raise_exception throws, so that no line is put before the template's own words.
class TemplateRaised : public Error {
 public:
  explicit TemplateRaised(const std::string& message) : Error(ErrorCode::invalid_argument, message) {}
};

}  // namespace qwin::jinja
