// SPDX-License-Identifier: Apache-2.0
// `value | filter`: text and scalars here, sequences in sequence_filters.cc.
#include "chat/jinja/filters.h"

#include <charconv>
#include <cmath>

namespace qwin::jinja {
namespace {

Value filter_tojson(Context& c, const Value& v, const Args& a) {
  a.check("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  if (const Value* ascii = a.find(0, "ensure_ascii")) style.ensure_ascii = truthy(*ascii);
  if (const Value* indent = a.find(1, "indent"); indent && !indent->is(Type::none)) {
    style.pretty = true;
    style.item_separator = ",";
    if (indent->is(Type::text)) {
      style.indent = indent->view();
    } else if (indent->is_integral() && indent->number <= 64) {
      style.indent.assign(indent->number > 0 ? static_cast<size_t>(indent->number) : 0, ' ');
    } else {
      fail("tojson: indent must be a string or a number up to 64");
    }
  }
  if (const Value* separators = a.find(2, "separators"); separators && !separators->is(Type::none)) {
    const auto pair = iterate(*separators, c.budget());
    if (pair->items.size() != 2 || !pair->items[0].is(Type::text) || !pair->items[1].is(Type::text)) {
      fail("tojson: separators must be two strings");
    }
    style.item_separator = pair->items[0].view();
    style.key_separator = pair->items[1].view();
  }
  if (const Value* sort = a.find(3, "sort_keys")) style.sort_keys = truthy(*sort);
  return Value::text(to_json(v, style, c.budget()));
}

Value filter_trim(Context& c, const Value& v, const Args& a) {
  a.check("trim", {"chars"});
  const Value* chars = a.find(0, "chars");
  if (chars && chars->is(Type::none)) chars = nullptr;
  if (chars && !chars->is(Type::text)) fail("trim: chars must be a string");
  return Value::text(strip_text(*to_text(v, c.budget()), chars, true, true));
}

Value filter_length(Context& c, const Value& v, const Args& a) {
  a.check("length", {});
  if (v.is(Type::text)) c.budget().work(v.view().size());
  return Value::integer(static_cast<Int>(length(v)));
}

Value filter_default(Context&, const Value& v, const Args& a) {
  a.check("default", {"default_value", "boolean"});
  const Value* boolean = a.find(1, "boolean");
  if (!v.is(Type::undefined) && !(boolean && truthy(*boolean) && !truthy(v))) return v;
  const Value* fallback = a.find(0, "default_value");
  return fallback ? *fallback : Value::text(Text::make(nullptr, "", Origin::author));
}

template <char how>
Value filter_case(Context& c, const Value& v, const Args& a) {
  a.check("upper", {});
  return Value::text(change_case(*to_text(v, c.budget()), how, c.budget()));
}

Value filter_replace(Context& c, const Value& v, const Args& a) {
  a.check("replace", {"old", "new", "count"});
  const Value* from = a.find(0, "old");
  const Value* to = a.find(1, "new");
  const Value* count = a.find(2, "count");
  if (!from || !to) fail("replace needs two strings");
  if (count && !count->is(Type::none) && !count->is_integral()) fail("replace: count must be an integer");
  const Int limit = count && count->is_integral() ? count->number : -1;
  return Value::text(
      replace_text(*to_text(v, c.budget()), *to_text(*from, c.budget()), *to_text(*to, c.budget()), limit, c.budget()));
}

Value filter_string(Context& c, const Value& v, const Args& a) {
  a.check("string", {});
  return Value::text(to_text(v, c.budget()));
}

// float(text), or nothing. Digits with '_' are not taken.
bool parse_real(std::string_view text, double& out) {
  const auto [begin, end] = strip_space(text, true, true);
  text = text.substr(begin, end - begin);
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  return !text.empty() && result.ec == std::errc() && result.ptr == text.data() + text.size();
}

bool parse_integer(std::string_view text, int64_t& out) {
  const auto [begin, end] = strip_space(text, true, true);
  text = text.substr(begin, end - begin);
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  return !text.empty() && result.ec == std::errc() && result.ptr == text.data() + text.size();
}

Value filter_int(Context&, const Value& v, const Args& a) {
  a.check("int", {"default"});
  const Value* fallback = a.find(0, "default");
  const Value otherwise = fallback ? *fallback : Value::integer(0);
  if (v.is(Type::undefined)) fail("int: the value is undefined");
  if (v.is_integral()) return Value::integer(v.number);
  int64_t whole = 0;
  if (v.is(Type::text) && parse_integer(v.view(), whole)) return Value::integer(whole);
  double real = v.real;
  if (!v.is(Type::real) && !(v.is(Type::text) && parse_real(v.view(), real))) return otherwise;
  if (!std::isfinite(real)) return otherwise;
  if (std::fabs(real) >= 0x1p126) fail("int: the number is too large");
  return Value::integer(static_cast<Int>(real));
}

Value filter_float(Context&, const Value& v, const Args& a) {
  a.check("float", {"default"});
  const Value* fallback = a.find(0, "default");
  if (v.is(Type::undefined)) fail("float: the value is undefined");
  double real = 0;
  if (v.is_number()) return Value::floating(v.as_double());
  if (v.is(Type::text) && parse_real(v.view(), real)) return Value::floating(real);
  return fallback ? *fallback : Value::floating(0);
}

Value filter_abs(Context&, const Value& v, const Args& a) {
  a.check("abs", {});
  if (v.is(Type::real)) return Value::floating(std::fabs(v.real));
  return v.is_number() && v.number >= 0 ? Value::integer(v.number) : number_op(Op::sub, Value::integer(0), v);
}

// Each line but the first moves right, blank ones stay unless asked.
Value filter_indent(Context& c, const Value& v, const Args& a) {
  a.check("indent", {"width", "first", "blank"});
  if (!v.is(Type::text)) fail("indent needs a string");
  const Value* width = a.find(0, "width");
  const Value* first = a.find(1, "first");
  const Value* blank = a.find(2, "blank");
  if (width && !width->is(Type::text) && !(width->is_integral() && width->number <= 1024)) fail("indent: bad width");
  const TextPtr margin = width && width->is(Type::text)
                             ? width->text_ptr()
                             : Text::make(&c.budget(),
                                          std::string(static_cast<size_t>(!width              ? 4
                                                                          : width->number > 0 ? width->number
                                                                                              : 0),
                                                      ' '),
                                          Origin::author);
  auto text = std::make_shared<Text>(&c.budget());
  text->append(v.as_text());
  text->append("\n", Origin::author);
  const Value lines = call_method(Value::text(text), "splitlines", c, Args());
  auto out = std::make_shared<Text>(&c.budget());
  const auto& items = lines.as_list().items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out->append("\n", Origin::author);
    const bool moved = i == 0 ? first && truthy(*first) : (blank && truthy(*blank)) || !items[i].view().empty();
    if (moved) out->append(*margin);
    out->append(items[i].as_text());
  }
  return Value::text(std::move(out));
}

constexpr NamedFilter kTextFilters[] = {
    {"tojson", filter_tojson},   {"trim", filter_trim},
    {"length", filter_length},   {"count", filter_length},
    {"default", filter_default}, {"d", filter_default},
    {"upper", filter_case<'u'>}, {"lower", filter_case<'l'>},
    {"title", filter_case<'T'>}, {"capitalize", filter_case<'c'>},
    {"replace", filter_replace}, {"string", filter_string},
    {"int", filter_int},         {"float", filter_float},
    {"abs", filter_abs},         {"indent", filter_indent},
};

const NamedFilter& filter_at(size_t index) {
  constexpr size_t kCount = std::size(kTextFilters);
  return index < kCount ? kTextFilters[index] : sequence_filters()[index - kCount];
}

}  // namespace

int find_filter(std::string_view name) {
  const size_t count = std::size(kTextFilters) + sequence_filters().size();
  for (size_t i = 0; i < count; ++i) {
    if (filter_at(i).name == name) return static_cast<int>(i);
  }
  return -1;
}

Value call_filter(int filter, Context& context, const Value& value, const Args& args) {
  return filter_at(static_cast<size_t>(filter)).function(context, value, args);
}

}  // namespace qwin::jinja
