// SPDX-License-Identifier: Apache-2.0
// `value is test`.
#include <algorithm>
#include <iterator>

#include "chat/jinja/builtins.h"

namespace qwin::jinja {
namespace {

using Test = bool (*)(Context&, const Value&, const Args&);

struct NamedTest {
  std::string_view name;
  Test function;
};

const Value& operand(const Args& args) {
  if (args.positional.size() != 1) fail("the test needs one argument");
  return args.positional[0];
}

Int integer(const Value& value) {
  if (!value.is_integral()) fail(std::string("the test needs an integer, got ") + type_name(value));
  return value.number;
}

bool is_equal(Context& c, const Value& v, const Args& a) { return equals(v, operand(a), c.budget()); }
bool is_unequal(Context& c, const Value& v, const Args& a) { return !equals(v, operand(a), c.budget()); }
bool is_less(Context& c, const Value& v, const Args& a) { return compare(v, operand(a), c.budget()) < 0; }
bool is_at_most(Context& c, const Value& v, const Args& a) { return compare(v, operand(a), c.budget()) <= 0; }
bool is_greater(Context& c, const Value& v, const Args& a) { return compare(v, operand(a), c.budget()) > 0; }
bool is_at_least(Context& c, const Value& v, const Args& a) { return compare(v, operand(a), c.budget()) >= 0; }

bool is_same(Context&, const Value& v, const Args& a) {
  const Value& other = operand(a);
  return v.type == other.type && v.number == other.number && v.real == other.real && v.object == other.object;
}

bool is_iterable(Context&, const Value& v, const Args&) {
  return v.is(Type::undefined) || v.is(Type::text) || v.is(Type::list) || v.is(Type::dict) || v.is(Type::loop);
}

// Whatever has a length and can be indexed.
bool is_sequence(Context&, const Value& v, const Args&) {
  if (v.is(Type::list)) return v.as_list().kind <= List::Kind::range;
  return v.is(Type::text) || v.is(Type::dict) || v.is(Type::undefined);
}

bool is_cased(Context& c, const Value& v, char how) {
  const TextPtr text = to_text(v, c.budget());
  const TextPtr upper = change_case(*text, 'u', c.budget());
  const TextPtr lower = change_case(*text, 'l', c.budget());
  return upper->view() != lower->view() && text->view() == (how == 'u' ? upper : lower)->view();
}

bool is_callable(Context&, const Value& v, const Args&) {
  return v.is(Type::macro) || v.is(Type::function) || v.is(Type::method);
}

constexpr NamedTest kTests[] = {
    {"odd", [](Context&, const Value& v, const Args&) { return integer(v) % 2 != 0; }},
    {"even", [](Context&, const Value& v, const Args&) { return integer(v) % 2 == 0; }},
    {"divisibleby",
     [](Context&, const Value& v, const Args& a) {
       const Int divisor = integer(operand(a));
       if (divisor == 0) fail("division by zero");
       return integer(v) % divisor == 0;
     }},
    {"defined", [](Context&, const Value& v, const Args&) { return !v.is(Type::undefined); }},
    {"undefined", [](Context&, const Value& v, const Args&) { return v.is(Type::undefined); }},
    {"none", [](Context&, const Value& v, const Args&) { return v.is(Type::none); }},
    {"boolean", [](Context&, const Value& v, const Args&) { return v.is(Type::boolean); }},
    {"true", [](Context&, const Value& v, const Args&) { return v.is(Type::boolean) && v.number != 0; }},
    {"false", [](Context&, const Value& v, const Args&) { return v.is(Type::boolean) && v.number == 0; }},
    {"integer", [](Context&, const Value& v, const Args&) { return v.is(Type::integer); }},
    {"float", [](Context&, const Value& v, const Args&) { return v.is(Type::real); }},
    {"number", [](Context&, const Value& v, const Args&) { return v.is_number(); }},
    {"string", [](Context&, const Value& v, const Args&) { return v.is(Type::text); }},
    {"mapping", [](Context&, const Value& v, const Args&) { return v.is(Type::dict); }},
    {"sequence", is_sequence},
    {"iterable", is_iterable},
    {"callable", is_callable},
    {"lower", [](Context& c, const Value& v, const Args&) { return is_cased(c, v, 'l'); }},
    {"upper", [](Context& c, const Value& v, const Args&) { return is_cased(c, v, 'u'); }},
    {"sameas", is_same},
    {"in", [](Context& c, const Value& v, const Args& a) { return contains(operand(a), v, c.budget()); }},
    {"==", is_equal},
    {"eq", is_equal},
    {"equalto", is_equal},
    {"!=", is_unequal},
    {"ne", is_unequal},
    {"<", is_less},
    {"lt", is_less},
    {"lessthan", is_less},
    {"<=", is_at_most},
    {"le", is_at_most},
    {">", is_greater},
    {"gt", is_greater},
    {"greaterthan", is_greater},
    {">=", is_at_least},
    {"ge", is_at_least},
};

}  // namespace

int find_test(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kTests), std::end(kTests), [&](const NamedTest& t) { return t.name == name; });
  return found == std::end(kTests) ? -1 : static_cast<int>(found - std::begin(kTests));
}

bool call_test(int test, Context& context, const Value& value, const Args& args) {
  if (!args.named.empty()) fail("a test takes no named arguments");
  return kTests[test].function(context, value, args);
}

}  // namespace qwin::jinja
