// SPDX-License-Identifier: Apache-2.0
#include "chat/template_needs.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "chat/jinja/builtins.h"

namespace qwin {
namespace {

using jinja::Node;
using jinja::NodeId;
using jinja::NodeKind;

class Scan {
 public:
  Scan(const jinja::Ast& ast, std::string_view field) : ast_(ast), field_(field) {
    for (const Node& node : ast_.nodes) {
      if (node.kind == NodeKind::set && is_field(node.b) && at(node.a).kind == NodeKind::name) {
        aliases_.push_back(at(node.a).name);
      }
    }
  }

  // x.field, x["field"], or a variable set to one of them.
  bool is_field(NodeId id) const {
    if (id == jinja::kNoNode) return false;
    const Node& node = at(id);
    if (node.kind == NodeKind::get_attribute) return ast_.names[static_cast<size_t>(node.name)] == field_;
    if (node.kind == NodeKind::name) return std::find(aliases_.begin(), aliases_.end(), node.name) != aliases_.end();
    if (node.kind != NodeKind::get_item) return false;
    const Node& key = at(node.b);
    return key.kind == NodeKind::constant && key.value.is(jinja::Type::text) && key.value.view() == field_;
  }

  bool filtered_by(std::initializer_list<std::string_view> filters) const {
    return any(NodeKind::filter, filters, jinja::find_filter);
  }
  bool tested_by(std::initializer_list<std::string_view> tests) const {
    return any(NodeKind::test, tests, jinja::find_test);
  }
  // field.items() and its like
  bool has_method_called() const {
    return std::any_of(ast_.nodes.begin(), ast_.nodes.end(), [this](const Node& node) {
      return node.kind == NodeKind::call && at(node.a).kind == NodeKind::get_attribute && is_field(at(node.a).a) &&
             jinja::is_dict_method(ast_.names[static_cast<size_t>(at(node.a).name)]);
    });
  }
  bool is_concatenated() const {
    return std::any_of(ast_.nodes.begin(), ast_.nodes.end(), [this](const Node& node) {
      return node.kind == NodeKind::binary && node.op == jinja::Op::add && (is_field(node.a) || is_field(node.b));
    });
  }

 private:
  const Node& at(NodeId id) const { return ast_.nodes[static_cast<size_t>(id)]; }

  bool any(NodeKind kind, std::initializer_list<std::string_view> names, int (*find)(std::string_view)) const {
    return std::any_of(ast_.nodes.begin(), ast_.nodes.end(), [&](const Node& node) {
      return node.kind == kind && is_field(node.a) &&
             std::any_of(names.begin(), names.end(), [&](std::string_view name) { return find(name) == node.builtin; });
    });
  }

  const jinja::Ast& ast_;
  const std::string_view field_;
  std::vector<int> aliases_;
};

}  // namespace

TemplateNeeds find_template_needs(const jinja::Ast& ast) {
  using Arguments = TemplateNeeds::Arguments;
  TemplateNeeds needs;
  const Scan arguments(ast, "arguments");
  if (!arguments.tested_by({"string", "mapping"})) {
    if (arguments.filtered_by({"tojson", "items", "dictsort"}) || arguments.has_method_called()) {
      needs.arguments = Arguments::object;
    } else if (arguments.is_concatenated()) {
      needs.arguments = Arguments::text;
    }
  }
  needs.null_content = Scan(ast, "content").tested_by({"none"});
  return needs;
}

}  // namespace qwin
