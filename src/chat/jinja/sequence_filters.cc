// SPDX-License-Identifier: Apache-2.0
// Filters that make, search or change sequences.
#include <algorithm>
#include <charconv>

#include "chat/jinja/filters.h"
#include "core/printable.h"

namespace qwin::jinja {
namespace {

Value as_list(std::shared_ptr<List> list) { return {Type::list, 0, 0, std::move(list)}; }

// item["a"]["b"] for the path "a.b"; whole numbers index. `fallback` stands in at every step that finds nothing.
Value by_path(Context& c, Value item, const Value& path, const Value* fallback = nullptr) {
  const auto step = [&](const Value& key) {
    item = c.get_item(item, key);
    if (fallback && item.is(Type::undefined)) item = *fallback;
  };
  if (path.is_integral()) {
    step(path);
    return item;
  }
  if (!path.is(Type::text)) fail("an attribute's name must be a string");
  std::string_view rest = path.view();
  while (true) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    int64_t index = 0;
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos &&
                        std::from_chars(part.data(), part.data() + part.size(), index).ec == std::errc();
    step(digits ? Value::integer(index) : Value::text(Text::make(nullptr, part, Origin::data)));
    if (dot == rest.npos) return item;
    rest.remove_prefix(dot + 1);
  }
}

Value filter_join(Context& c, const Value& v, const Args& a) {
  a.check("join", {"d", "attribute"});
  const Value* separator = a.find(0, "d");
  const Value* attribute = a.find(1, "attribute");
  auto items = iterate(v, c.budget());
  if (attribute && !attribute->is(Type::none)) {
    auto picked = std::make_shared<List>(&c.budget());
    for (const Value& item : items->items) picked->push(by_path(c, item, *attribute));
    items = picked;
  }
  const TextPtr between = separator ? to_text(*separator, c.budget()) : Text::make(nullptr, "", Origin::author);
  return Value::text(join_texts(*between, *items, true, c.budget()));
}

Value filter_first(Context& c, const Value& v, const Args& a) {
  a.check("first", {});
  const auto items = iterate(v, c.budget());
  return items->items.empty() ? Value() : items->items.front();
}

Value filter_last(Context& c, const Value& v, const Args& a) {
  a.check("last", {});
  if (v.is(Type::list) && v.as_list().kind == List::Kind::generator) fail("last needs a sequence, not a generator");
  const auto items = iterate(v, c.budget());
  return items->items.empty() ? Value() : items->items.back();
}

std::shared_ptr<List> copy_as(Context& c, const List& items, List::Kind kind) {
  auto copy = std::make_shared<List>(&c.budget(), kind);
  c.budget().work(items.items.size());
  copy->reserve(items.items.size());
  for (const Value& item : items.items) copy->push(item);
  return copy;
}

Value filter_list(Context& c, const Value& v, const Args& a) {
  a.check("list", {});
  return as_list(copy_as(c, *iterate(v, c.budget()), List::Kind::list));
}

Value filter_items(Context& c, const Value& v, const Args& a) {
  a.check("items", {});
  if (v.is(Type::undefined)) return as_list(std::make_shared<List>(&c.budget(), List::Kind::generator));
  if (!v.is(Type::dict)) fail("items needs a mapping");
  const Value pairs = call_method(v, "items", c, Args());
  pairs.as_list().kind = List::Kind::generator;
  return pairs;
}

Value filter_reverse(Context& c, const Value& v, const Args& a) {
  a.check("reverse", {});
  if (v.is(Type::text)) {
    const Value step = Value::integer(-1);
    return slice_value(v, nullptr, nullptr, &step, c.budget());
  }
  auto copy = copy_as(c, *iterate(v, c.budget()), List::Kind::generator);
  std::reverse(copy->items.begin(), copy->items.end());
  return as_list(std::move(copy));
}

// What sort and unique compare: texts in lower case unless case counts.
Value sort_key(Context& c, const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = attribute && !attribute->is(Type::none) ? by_path(c, item, *attribute) : item;
  if (key.is(Type::text) && !case_sensitive) key = Value::text(change_case(key.as_text(), 'l', c.budget()));
  return key;
}

Value sorted(Context& c, const List& items, const Value* reverse, const Value* case_sensitive, const Value* attribute) {
  std::vector<std::pair<Value, Value>> keyed;
  Charge charge(&c.budget());
  charge.set(items.items.size() * sizeof(keyed[0]) * 2);
  const bool sensitive = case_sensitive && truthy(*case_sensitive);
  for (const Value& item : items.items) keyed.emplace_back(sort_key(c, item, attribute, sensitive), item);
  const bool down = reverse && truthy(*reverse);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& x, const auto& y) {
    return down ? compare(y.first, x.first, c.budget()) < 0 : compare(x.first, y.first, c.budget()) < 0;
  });
  auto out = std::make_shared<List>(&c.budget());
  for (auto& [key, item] : keyed) out->push(std::move(item));
  return as_list(std::move(out));
}

Value filter_sort(Context& c, const Value& v, const Args& a) {
  a.check("sort", {"reverse", "case_sensitive", "attribute"});
  return sorted(c, *iterate(v, c.budget()), a.find(0, "reverse"), a.find(1, "case_sensitive"), a.find(2, "attribute"));
}

Value filter_dictsort(Context& c, const Value& v, const Args& a) {
  a.check("dictsort", {"case_sensitive", "by", "reverse"});
  if (!v.is(Type::dict)) fail("dictsort needs a mapping");
  const Value* by = a.find(1, "by");
  if (by && !(by->is(Type::text) && (by->view() == "key" || by->view() == "value")))
    fail("dictsort: by 'key' or 'value'");
  const Value index = Value::integer(by && by->view() == "value" ? 1 : 0);
  const Value pairs = call_method(v, "items", c, Args());
  return sorted(c, pairs.as_list(), a.find(2, "reverse"), a.find(0, "case_sensitive"), &index);
}

Value filter_unique(Context& c, const Value& v, const Args& a) {
  a.check("unique", {"case_sensitive", "attribute"});
  const Value* sensitive = a.find(0, "case_sensitive");
  auto out = std::make_shared<List>(&c.budget(), List::Kind::generator);
  List seen(&c.budget());
  const auto items = iterate(v, c.budget());
  for (const Value& item : items->items) {
    const Value key = sort_key(c, item, a.find(1, "attribute"), sensitive && truthy(*sensitive));
    const bool known = std::any_of(seen.items.begin(), seen.items.end(),
                                   [&](const Value& old) { return equals(old, key, c.budget()); });
    if (known) continue;
    seen.push(key);
    out->push(item);
  }
  return as_list(std::move(out));
}

template <int sign>
Value filter_extreme(Context& c, const Value& v, const Args& a) {
  a.check("min", {"case_sensitive", "attribute"});
  const Value* sensitive = a.find(0, "case_sensitive");
  Value best;
  Value best_key;
  const auto items = iterate(v, c.budget());
  for (const Value& item : items->items) {
    Value key = sort_key(c, item, a.find(1, "attribute"), sensitive && truthy(*sensitive));
    if (!best_key.is(Type::undefined) && compare(key, best_key, c.budget()) * sign <= 0) continue;
    best = item;
    best_key = std::move(key);
  }
  return best;
}

Value filter_sum(Context& c, const Value& v, const Args& a) {
  a.check("sum", {"attribute", "start"});
  const Value* attribute = a.find(0, "attribute");
  const Value* start = a.find(1, "start");
  Value sum = start ? *start : Value::integer(0);
  const auto items = iterate(v, c.budget());
  for (const Value& item : items->items) {
    c.budget().step();
    sum = number_op(Op::add, sum, attribute && !attribute->is(Type::none) ? by_path(c, item, *attribute) : item);
  }
  return sum;
}

Value filter_map(Context& c, const Value& v, const Args& a) {
  auto out = std::make_shared<List>(&c.budget(), List::Kind::generator);
  const auto items = iterate(v, c.budget());
  if (a.positional.empty()) {
    a.check("map", {"attribute", "default"});
    const Value* attribute = a.find(0, "attribute");
    const Value* fallback = a.find(1, "default");
    if (!attribute) fail("map needs a filter or an attribute");
    for (const Value& item : items->items) {
      out->push(by_path(c, item, *attribute, fallback && !fallback->is(Type::none) ? fallback : nullptr));
    }
    return as_list(std::move(out));
  }
  if (!a.positional[0].is(Type::text)) fail("map needs the name of a filter");
  const int filter = find_filter(a.positional[0].view());
  if (filter < 0) fail("the filter " + printable(a.positional[0].view()) + " is not supported");
  if (a.positional[0].view() == "map") fail("map of map is not supported");
  Args rest = a;
  rest.positional.erase(rest.positional.begin());
  for (const Value& item : items->items) {
    c.budget().step();
    out->push(call_filter(filter, c, item, rest));
  }
  return as_list(std::move(out));
}

// Keeps the items whose value (or attribute) passes the test, or fails it when `keep` is false.
template <bool keep, bool by_attribute>
Value filter_select(Context& c, const Value& v, const Args& a) {
  Args rest = a;
  Value attribute;
  const auto shift = [&rest] {
    Value first = rest.positional.front();
    rest.positional.erase(rest.positional.begin());
    return first;
  };
  if (by_attribute) {
    if (rest.positional.empty()) fail("selectattr and rejectattr need an attribute");
    attribute = shift();
  }
  int test = -1;
  if (!rest.positional.empty()) {
    const Value name = shift();
    test = name.is(Type::text) ? find_test(name.view()) : -1;
    if (test < 0) fail("select and reject need the name of a supported test");
  }
  auto out = std::make_shared<List>(&c.budget(), List::Kind::generator);
  const auto items = iterate(v, c.budget());
  for (const Value& item : items->items) {
    c.budget().step();
    const Value tested = by_attribute ? by_path(c, item, attribute) : item;
    if ((test < 0 ? truthy(tested) : call_test(test, c, tested, rest)) == keep) out->push(item);
  }
  return as_list(std::move(out));
}

constexpr NamedFilter kSequenceFilters[] = {
    {"join", filter_join},
    {"first", filter_first},
    {"last", filter_last},
    {"list", filter_list},
    {"items", filter_items},
    {"reverse", filter_reverse},
    {"sort", filter_sort},
    {"dictsort", filter_dictsort},
    {"unique", filter_unique},
    {"min", filter_extreme<-1>},
    {"max", filter_extreme<1>},
    {"sum", filter_sum},
    {"map", filter_map},
    {"select", filter_select<true, false>},
    {"reject", filter_select<false, false>},
    {"selectattr", filter_select<true, true>},
    {"rejectattr", filter_select<false, true>},
};

}  // namespace

std::span<const NamedFilter> sequence_filters() { return kSequenceFilters; }

}  // namespace qwin::jinja
