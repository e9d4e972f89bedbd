// SPDX-License-Identifier: Apache-2.0
// A parsed template: nodes in one vector, referring to each other by index, so that building and destroying never
// recurse.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chat/jinja/value.h"

namespace qwin::jinja {

using NodeId = int32_t;
inline constexpr NodeId kNoNode = -1;
inline constexpr int kMaxNodeDepth = 100;

enum class NodeKind : uint8_t {
  // Statements. `list` is the body.
  data,          // constant
  output,        // a: expression
  set,           // a: target, b: expression
  set_block,     // a: target, b: filters over `captured` or none
  for_loop,      // a: target, b: iterable, c: condition or none, list2: else
  if_chain,      // list: branches in order
  branch,        // a: condition, none for else
  macro,         // name; names: parameters, list2: their defaults or none
  with_block,    // list2: values, names: targets
  filter_block,  // a: filters over `captured`
  generation,
  break_loop,
  continue_loop,
  // Expressions.
  constant,
  name,
  list_literal,
  tuple_literal,
  dict_literal,   // list: keys, list2: values
  get_attribute,  // a . name
  get_item,       // a [ b ]
  slice,          // a [ list[0] : list[1] : list[2] ], each or none
  call,           // a ( list, names = list2 )
  filter,         // a | builtin ( list, names = list2 )
  test,           // a is builtin ( list )
  not_op,
  negate,
  plus,
  binary,  // op
  and_op,
  or_op,
  compare,           // a, then ops[i] list[i]
  concat,            // list
  condition,         // a if b else c
  captured,          // the body of a set or filter block
  namespace_target,  // name . name2, on the left of set
};

enum class Op : uint8_t { add, sub, mul, div, floordiv, mod, pow, eq, ne, lt, le, gt, ge, in, not_in };

struct Node {
  NodeKind kind = NodeKind::data;
  Op op = Op::add;
  uint16_t depth = 1;
  int line = 0;
  NodeId a = kNoNode, b = kNoNode, c = kNoNode;
  int name = -1, name2 = -1;  // ids of names
  int builtin = -1;           // index of the filter or test
  std::vector<NodeId> list, list2;
  std::vector<int> names;
  std::vector<Op> ops;
  Value value;
};

struct Ast {
  std::vector<Node> nodes;
  std::vector<std::string> names;
  std::vector<NodeId> body;

  int find_name(std::string_view name) const {
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i] == name) return static_cast<int>(i);
    }
    return -1;
  }
};

// Throws Error(bad_template) naming the construct and its line.
Ast parse_template(std::string_view source);

}  // namespace qwin::jinja
