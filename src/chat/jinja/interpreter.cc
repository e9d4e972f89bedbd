// SPDX-License-Identifier: Apache-2.0
// Statements: scopes, loops, blocks.
#include "chat/jinja/interpreter.h"

#include <utility>

#include "core/check.h"

namespace qwin::jinja {

struct Interpreter::DepthGuard {
  explicit DepthGuard(Interpreter& i) : interpreter(i) {
    if (++interpreter.depth_ > kMaxDepth) {
      --interpreter.depth_;
      fail("the template calls itself too deep");
    }
  }
  ~DepthGuard() { --interpreter.depth_; }
  Interpreter& interpreter;
};

namespace {

// Makes `scope` the current one for as long as it lives.
template <typename Scope>
class ScopeGuard {
 public:
  ScopeGuard(Scope*& current, Scope& scope) : current_(current), old_(current) { current_ = &scope; }
  ~ScopeGuard() { current_ = old_; }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Scope*& current_;
  Scope* old_;
};

}  // namespace

// Namespaces can hold each other; emptying them first breaks the cycles.
Interpreter::~Interpreter() {
  for (const auto& space : spaces_) space->attributes.clear();
}

void Interpreter::define(std::string_view name, Value value) {
  if (const int id = ast_.find_name(name); id >= 0) assign_name(root_, id, std::move(value));
}

TextPtr Interpreter::run() {
  out_ = std::make_shared<Text>(&budget_);
  try {
    run_body(ast_.body);
  } catch (const TemplateRaised&) {
    throw;
  } catch (const Error& error) {
    throw Error(error.code(), "chat template line " + std::to_string(line_) + ": " + error.what());
  }
  return std::move(out_);
}

Interpreter::Flow Interpreter::run_body(const std::vector<NodeId>& body) {
  DepthGuard guard(*this);
  for (const NodeId id : body) {
    budget_.step();
    const Flow flow = run_statement(node(id));
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_statement(const Node& statement) {
  line_ = statement.line;
  switch (statement.kind) {
    case NodeKind::data: out_->append(statement.value.as_text()); break;
    case NodeKind::output: out_->append(*to_text(evaluate(statement.a), budget_)); break;
    case NodeKind::set: assign(statement.a, evaluate(statement.b)); break;
    case NodeKind::set_block: run_set_block(statement); break;
    case NodeKind::for_loop: return run_for(statement);
    case NodeKind::if_chain: return run_if(statement);
    case NodeKind::macro:
      assign_name(*scope_, statement.name, {Type::macro, &statement - ast_.nodes.data(), 0, nullptr});
      break;
    case NodeKind::with_block: run_with(statement); break;
    case NodeKind::filter_block: {
      captured_.push_back(Value::text(capture_scoped(statement.list)));
      const Value filtered = evaluate(statement.a);
      captured_.pop_back();
      out_->append(*to_text(filtered, budget_));
      break;
    }
    case NodeKind::generation: out_->append(*capture_scoped(statement.list)); break;
    case NodeKind::break_loop: return Flow::break_loop;
    case NodeKind::continue_loop: return Flow::continue_loop;
    default: QWIN_CHECK(false && "a statement");
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_if(const Node& chain) {
  for (const NodeId id : chain.list) {
    const Node& branch = node(id);
    if (branch.a == kNoNode || truthy(evaluate(branch.a))) return run_body(branch.list);
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_for(const Node& loop) {
  std::shared_ptr<List> items = iterate(evaluate(loop.b), budget_);
  if (loop.c != kNoNode) items = filter_items(loop, *items);
  if (items->items.empty()) {
    Scope scope{scope_, {}};
    ScopeGuard guard(scope_, scope);
    return run_body(loop.list2);
  }
  return run_loop_items(loop, std::move(items));
}

std::shared_ptr<List> Interpreter::filter_items(const Node& loop, const List& items) {
  auto kept = std::make_shared<List>(&budget_);
  for (const Value& item : items.items) {
    Scope scope{scope_, {}};
    ScopeGuard guard(scope_, scope);
    assign(loop.a, item);
    if (truthy(evaluate(loop.c))) kept->push(item);
  }
  return kept;
}

Interpreter::Flow Interpreter::run_loop_items(const Node& loop, std::shared_ptr<List> items) {
  static constexpr std::string_view kLoop = "loop";
  const int loop_name = ast_.find_name(kLoop);
  auto state = std::make_shared<Loop>();
  state->items = std::move(items);
  for (; state->index < state->items->items.size(); ++state->index) {
    Scope scope{scope_, {}};
    ScopeGuard guard(scope_, scope);
    if (loop_name >= 0) assign_name(scope, loop_name, {Type::loop, 0, 0, state});
    assign(loop.a, state->items->items[state->index]);
    if (run_body(loop.list) == Flow::break_loop) break;
  }
  return Flow::next;
}

TextPtr Interpreter::capture(const std::vector<NodeId>& body) {
  TextPtr outer = std::exchange(out_, std::make_shared<Text>(&budget_));
  run_body(body);
  return std::exchange(out_, std::move(outer));
}

TextPtr Interpreter::capture_scoped(const std::vector<NodeId>& body) {
  Scope scope{scope_, {}};
  ScopeGuard guard(scope_, scope);
  return capture(body);
}

void Interpreter::run_set_block(const Node& block) {
  Value text = Value::text(capture_scoped(block.list));
  if (block.b != kNoNode) {
    captured_.push_back(std::move(text));
    text = evaluate(block.b);
    captured_.pop_back();
  }
  assign(block.a, text);
}

void Interpreter::run_with(const Node& block) {
  Scope scope{scope_, {}};
  for (size_t i = 0; i < block.names.size(); ++i) assign_name(scope, block.names[i], evaluate(block.list2[i]));
  ScopeGuard guard(scope_, scope);
  run_body(block.list);
}

void Interpreter::assign(NodeId target, const Value& value) {
  const Node& to = node(target);
  if (to.kind == NodeKind::name) return assign_name(*scope_, to.name, value);
  if (to.kind == NodeKind::namespace_target) return assign_attribute(to, value);
  const auto parts = iterate(value, budget_);
  if (parts->items.size() != to.list.size()) {
    fail("expected " + std::to_string(to.list.size()) + " values to unpack, got " +
         std::to_string(parts->items.size()));
  }
  for (size_t i = 0; i < to.list.size(); ++i) assign(to.list[i], parts->items[i]);
}

void Interpreter::assign_name(Scope& scope, int name, Value value) {
  for (auto& [known, old] : scope.variables) {
    if (known != name) continue;
    old = std::move(value);
    return;
  }
  scope.variables.emplace_back(name, std::move(value));
}

void Interpreter::assign_attribute(const Node& target, const Value& value) {
  const Value object = look_up(target.name);
  if (!object.is(Type::space)) fail("'" + name_of(target.name) + "' is no namespace");
  Space& space = object.as_space();
  for (auto& [known, old] : space.attributes) {
    if (known != target.name2) continue;
    old = value;
    return;
  }
  space.attributes.emplace_back(target.name2, value);
  space.charge.set(sizeof(Space) + space.attributes.capacity() * sizeof(space.attributes[0]));
}

Value Interpreter::evaluate(NodeId id) {
  DepthGuard guard(*this);
  budget_.step();
  return evaluate_node(node(id));
}

Value Interpreter::call_macro(const Node& macro, const Args& args) {
  Scope scope{&root_, {}};
  for (size_t i = 0; i < macro.names.size(); ++i) {
    assign_name(scope, macro.names[i], Value());  // a missing argument is undefined, not the caller's variable
  }
  if (args.positional.size() > macro.names.size())
    fail("the macro '" + name_of(macro.name) + "' got too many arguments");
  for (const auto& [given, value] : args.named) {
    bool known = false;
    for (const int parameter : macro.names) known |= name_of(parameter) == given;
    if (!known) fail("the macro '" + name_of(macro.name) + "' has no argument '" + std::string(given) + "'");
  }
  ScopeGuard guard(scope_, scope);
  for (size_t i = 0; i < macro.names.size(); ++i) {
    if (const Value* given = args.find(i, name_of(macro.names[i])))
      assign_name(scope, macro.names[i], *given);
    else if (macro.list2[i] != kNoNode)
      assign_name(scope, macro.names[i], evaluate(macro.list2[i]));
  }
  return Value::text(capture(macro.list));
}

}  // namespace qwin::jinja
