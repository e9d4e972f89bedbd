// SPDX-License-Identifier: Apache-2.0
// Methods of strings, dicts, lists and `loop`, and the global functions.
#include <algorithm>
#include <array>
#include <ctime>

#include "chat/jinja/builtins.h"
#include "chat/jinja/interpreter.h"

namespace qwin::jinja {
namespace {

const Text& text_argument(const Args& args, size_t position, std::string_view name, const char* what) {
  const Value* given = args.find(position, name);
  if (!given || !given->is(Type::text)) fail(std::string(what) + "() needs a string");
  return given->as_text();
}

// A `chars` or `sep` argument; None counts as not given.
const Value* optional_text(const Args& args, size_t position, std::string_view name, const char* what) {
  const Value* given = args.find(position, name);
  if (!given || given->is(Type::none)) return nullptr;
  if (!given->is(Type::text)) fail(std::string(what) + "() needs a string");
  return given;
}

Int integer_argument(const Args& args, size_t position, std::string_view name, Int fallback) {
  const Value* given = args.find(position, name);
  if (!given) return fallback;
  if (!given->is_integral()) fail("an integer was expected, got " + std::string(type_name(*given)));
  return given->number;
}

Value strip(const Text& text, const Args& args, bool left, bool right) {
  args.check("strip", {"chars"});
  return Value::text(strip_text(text, optional_text(args, 0, "", "strip"), left, right));
}

Value as_list(std::shared_ptr<List> list) { return {Type::list, 0, 0, std::move(list)}; }

// Words between white space. From the right when `right`; then the pieces come in reverse.
void split_at_space(const Text& text, Int limit, bool right, List& out) {
  size_t begin = 0;
  size_t end = text.size();
  while (true) {
    const auto [from, to] = strip_space(text.view().substr(begin, end - begin), !right, right);
    end = begin + to;
    begin += from;
    if (begin >= end) return;
    if (limit-- == 0) {
      out.push(Value::text(text.sub(begin, end)));
      return;
    }
    text.budget() ? text.budget()->step() : void();
    size_t cut = right ? end : begin;
    if (!right) {
      while (cut < end && !is_space(decode_char(text.view().substr(cut, char_length(text.view(), cut))))) {
        cut += char_length(text.view(), cut);
      }
      out.push(Value::text(text.sub(begin, cut)));
      begin = cut;
    } else {
      size_t start = end;
      while (start > begin) {
        size_t previous = start - 1;
        while (previous > begin && (static_cast<unsigned char>(text.view()[previous]) & 0xC0) == 0x80) --previous;
        if (is_space(decode_char(text.view().substr(previous, start - previous)))) break;
        start = previous;
      }
      out.push(Value::text(text.sub(start, end)));
      end = start;
    }
  }
}

void split_at(const Text& text, std::string_view separator, Int limit, bool right, List& out) {
  size_t begin = 0;
  size_t end = text.size();
  while (limit-- != 0) {
    const std::string_view rest = text.view().substr(begin, end - begin);
    const size_t found = right ? rest.rfind(separator) : rest.find(separator);
    if (found == rest.npos) break;
    if (right) {
      out.push(Value::text(text.sub(begin + found + separator.size(), end)));
      end = begin + found;
    } else {
      out.push(Value::text(text.sub(begin, begin + found)));
      begin += found + separator.size();
    }
  }
  out.push(Value::text(text.sub(begin, end)));
}

Value split(const Text& text, const Args& args, bool right, Budget& budget) {
  args.check("split", {"sep", "maxsplit"});
  const Value* separator = optional_text(args, 0, "sep", "split");
  const Int limit = integer_argument(args, 1, "maxsplit", -1);
  auto list = std::make_shared<List>(&budget);
  budget.work(text.size());
  if (!separator) {
    split_at_space(text, limit, right, *list);
  } else {
    if (separator->view().empty()) fail("split() needs a separator that is not empty");
    split_at(text, separator->view(), limit, right, *list);
  }
  if (right) std::reverse(list->items.begin(), list->items.end());
  return as_list(std::move(list));
}

Value split_lines(const Text& text, const Args& args, Budget& budget) {
  args.check("splitlines", {"keepends"});
  const Value* keep = args.find(0, "keepends");
  auto list = std::make_shared<List>(&budget);
  const std::string_view view = text.view();
  budget.work(view.size());
  size_t begin = 0;
  for (size_t i = 0; i < view.size();) {
    size_t length = char_length(view, i);
    const char32_t c = decode_char(view.substr(i, length));
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    const size_t stop = i;
    if (c == '\r' && i + 1 < view.size() && view[i + 1] == '\n') length = 2;
    i += length;
    if (!ends) continue;
    list->push(Value::text(text.sub(begin, keep && truthy(*keep) ? i : stop)));
    begin = i;
  }
  if (begin < view.size()) list->push(Value::text(text.sub(begin, view.size())));
  return as_list(std::move(list));
}

bool has_affix(std::string_view text, const Value& affix, bool at_start) {
  if (affix.is(Type::list) && affix.as_list().kind == List::Kind::tuple) {
    const auto& items = affix.as_list().items;
    return std::any_of(items.begin(), items.end(), [&](const Value& item) {
      if (!item.is(Type::text)) fail("startswith() and endswith() need strings");
      return has_affix(text, item, at_start);
    });
  }
  if (!affix.is(Type::text)) fail("startswith() and endswith() need a string or a tuple of strings");
  return at_start ? text.starts_with(affix.view()) : text.ends_with(affix.view());
}

Value find_in(const Text& text, const Args& args, bool right, Budget& budget) {
  args.check("find", {"sub"});
  const Text& needle = text_argument(args, 0, "", "find");
  budget.work(text.size());
  const size_t found = right ? text.view().rfind(needle.view()) : text.view().find(needle.view());
  return Value::integer(found == std::string_view::npos ? Int{-1}
                                                        : static_cast<Int>(count_chars(text.view().substr(0, found))));
}

Value count_in(const Text& text, const Args& args, Budget& budget) {
  args.check("count", {"sub"});
  const std::string_view needle = text_argument(args, 0, "", "count").view();
  budget.work(text.size());
  if (needle.empty()) return Value::integer(static_cast<Int>(count_chars(text.view())) + 1);
  Int count = 0;
  for (size_t at = text.view().find(needle); at != std::string_view::npos;
       at = text.view().find(needle, at + needle.size())) {
    ++count;
  }
  return Value::integer(count);
}

Value remove_affix(const Text& text, const Args& args, bool prefix) {
  args.check("removeprefix", {"affix"});
  const std::string_view affix = text_argument(args, 0, "", "removeprefix").view();
  if (prefix && text.view().starts_with(affix)) return Value::text(text.sub(affix.size(), text.size()));
  if (!prefix && text.view().ends_with(affix)) return Value::text(text.sub(0, text.size() - affix.size()));
  return Value::text(text.sub(0, text.size()));
}

using TextMethod = Value (*)(const Text&, const Args&, Budget&);

template <char how>
Value cased(const Text& text, const Args& args, Budget& budget) {
  args.check("upper", {});
  return Value::text(change_case(text, how, budget));
}

struct NamedTextMethod {
  std::string_view name;
  TextMethod function;
};

constexpr NamedTextMethod kTextMethods[] = {
    {"strip", [](const Text& t, const Args& a, Budget&) { return strip(t, a, true, true); }},
    {"lstrip", [](const Text& t, const Args& a, Budget&) { return strip(t, a, true, false); }},
    {"rstrip", [](const Text& t, const Args& a, Budget&) { return strip(t, a, false, true); }},
    {"split", [](const Text& t, const Args& a, Budget& b) { return split(t, a, false, b); }},
    {"rsplit", [](const Text& t, const Args& a, Budget& b) { return split(t, a, true, b); }},
    {"splitlines", split_lines},
    {"startswith",
     [](const Text& t, const Args& a, Budget&) {
       a.check("startswith", {"prefix"});
       return Value::boolean(has_affix(t.view(), a.positional.empty() ? Value() : a.positional[0], true));
     }},
    {"endswith",
     [](const Text& t, const Args& a, Budget&) {
       a.check("endswith", {"suffix"});
       return Value::boolean(has_affix(t.view(), a.positional.empty() ? Value() : a.positional[0], false));
     }},
    {"replace",
     [](const Text& t, const Args& a, Budget& b) {
       a.check("replace", {"old", "new", "count"});
       const Text& from = text_argument(a, 0, "", "replace");
       return Value::text(
           replace_text(t, from, text_argument(a, 1, "", "replace"), integer_argument(a, 2, "count", -1), b));
     }},
    {"upper", cased<'u'>},
    {"lower", cased<'l'>},
    {"title", cased<'t'>},
    {"capitalize", cased<'c'>},
    {"find", [](const Text& t, const Args& a, Budget& b) { return find_in(t, a, false, b); }},
    {"rfind", [](const Text& t, const Args& a, Budget& b) { return find_in(t, a, true, b); }},
    {"count", count_in},
    {"join",
     [](const Text& t, const Args& a, Budget& b) {
       a.check("join", {"iterable"});
       if (a.positional.empty()) fail("join() needs an iterable");
       return Value::text(join_texts(t, *iterate(a.positional[0], b), false, b));
     }},
    {"removeprefix", [](const Text& t, const Args& a, Budget&) { return remove_affix(t, a, true); }},
    {"removesuffix", [](const Text& t, const Args& a, Budget&) { return remove_affix(t, a, false); }},
};

constexpr std::string_view kDictMethods[] = {"get", "items", "keys", "values"};
// What the sandbox refuses or nobody needs; they still hide keys of the same name.
constexpr std::string_view kOtherDictMethods[] = {"pop",        "update",  "copy",    "clear",
                                                  "setdefault", "popitem", "fromkeys"};

Value dict_method(const Dict& dict, std::string_view name, const Args& args, Budget& budget) {
  budget.work(dict.items.size() * 8);
  if (name == "get") {
    args.check("get", {"key", "default"});
    if (args.positional.empty()) fail("get() needs a key");
    const Value& key = args.positional[0];
    if (const Value* found = key.is(Type::text) ? dict.find(key.view()) : nullptr) return *found;
    return args.positional.size() > 1 ? args.positional[1] : Value::none();
  }
  args.check("items", {});
  auto list = std::make_shared<List>(&budget, List::Kind::view);
  for (const auto& [key, value] : dict.items) {
    if (name == "keys") {
      list->push(Value::text(key));
    } else if (name == "values") {
      list->push(value);
    } else {
      auto pair = std::make_shared<List>(&budget, List::Kind::tuple);
      pair->reserve(2);
      pair->push(Value::text(key));
      pair->push(value);
      list->push({Type::list, 0, 0, std::move(pair)});
    }
  }
  return as_list(std::move(list));
}

Value list_method(const List& list, std::string_view name, const Args& args, Budget& budget) {
  if (name != "index" && name != "count") fail("a list has no method '" + std::string(name) + "' here");
  args.check("index", {"value"});
  if (args.positional.empty()) fail("index() and count() need a value");
  Int count = 0;
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (!equals(list.items[i], args.positional[0], budget)) continue;
    if (name == "index") return Value::integer(static_cast<Int>(i));
    ++count;
  }
  if (name == "index") fail("index(): the value is not in the list");
  return Value::integer(count);
}

Value range(Context& context, const Args& args) {
  args.check("range", {"start", "stop", "step"});
  if (args.positional.empty() || !args.named.empty()) fail("range() takes one to three integers");
  const Int first = integer_argument(args, 0, "", 0);
  const bool one = args.positional.size() == 1;
  const Int start = one ? 0 : first;
  const Int stop = one ? first : integer_argument(args, 1, "", 0);
  const Int step = integer_argument(args, 2, "", 1);
  if (step == 0) fail("range() needs a step other than 0");
  const Int distance = step > 0 ? stop - start : start - stop;
  const Int stride = step > 0 ? step : -step;
  const Int count = distance <= 0 ? 0 : (distance - 1) / stride + 1;
  if (count > kMaxRangeLength) fail("range() of more than 100000 numbers");
  auto list = std::make_shared<List>(&context.budget(), List::Kind::range);
  list->reserve(static_cast<size_t>(count));
  for (Int i = 0; i < count; ++i) list->push(Value::integer(start + i * step));
  context.budget().work(static_cast<size_t>(count));
  return as_list(std::move(list));
}

Value make_dict(Context& context, const Args& args) {
  if (args.positional.size() > 1) fail("dict() takes named values or one dict");
  auto dict = std::make_shared<Dict>(&context.budget());
  if (!args.positional.empty()) {
    if (!args.positional[0].is(Type::dict)) fail("dict() takes named values or one dict");
    context.budget().work(args.positional[0].as_dict().items.size() * args.positional[0].as_dict().items.size());
    for (const auto& [key, value] : args.positional[0].as_dict().items) dict->set(key, value);
  }
  for (const auto& [name, value] : args.named) dict->set(Text::make(&context.budget(), name, Origin::author), value);
  return {Type::dict, 0, 0, std::move(dict)};
}

Value strftime_now(Context& context, const Args& args) {
  args.check("strftime_now", {"format"});
  const std::string format(text_argument(args, 0, "format", "strftime_now").view());
  if (format.size() > 256) fail("strftime_now(): the format is longer than 256 bytes");
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 4096> buffer;
  const size_t length = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  return Value::text(Text::make(&context.budget(), {buffer.data(), length}, Origin::data));
}

Value raise_exception(const Args& args, Budget& budget) {
  args.check("raise_exception", {"message"});
  const Value* message = args.find(0, "message");
  std::string text(message ? to_text(*message, budget)->view() : "the template refuses these messages");
  if (text.size() > 256) {
    size_t end = 256;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text.resize(end);
  }
  throw TemplateRaised(text);
}

constexpr std::string_view kFunctions[] = {kNamespaceFunction, "range", "dict", "strftime_now", "raise_exception"};

}  // namespace

bool is_dict_method(std::string_view name) {
  return std::find(std::begin(kDictMethods), std::end(kDictMethods), name) != std::end(kDictMethods) ||
         std::find(std::begin(kOtherDictMethods), std::end(kOtherDictMethods), name) != std::end(kOtherDictMethods);
}

bool is_method(std::string_view name) {
  if (name == "index" || name == "cycle") return true;
  if (std::find(std::begin(kDictMethods), std::end(kDictMethods), name) != std::end(kDictMethods)) return true;
  return std::any_of(std::begin(kTextMethods), std::end(kTextMethods), [&](const auto& m) { return m.name == name; });
}

Value call_method(const Value& object, std::string_view name, Context& context, const Args& args) {
  Budget& budget = context.budget();
  if (object.is(Type::text)) {
    for (const NamedTextMethod& method : kTextMethods) {
      if (method.name == name) return method.function(object.as_text(), args, budget);
    }
  }
  if (object.is(Type::dict) && is_dict_method(name)) return dict_method(object.as_dict(), name, args, budget);
  if (object.is(Type::list)) return list_method(object.as_list(), name, args, budget);
  if (object.is(Type::loop) && name == "cycle") {
    if (args.positional.empty()) fail("loop.cycle() needs values");
    return args.positional[object.as_loop().index % args.positional.size()];
  }
  fail(std::string("'") + type_name(object) + "' has no method '" + std::string(name) + "'");
}

int find_function(std::string_view name) {
  const auto* found = std::find(std::begin(kFunctions), std::end(kFunctions), name);
  return found == std::end(kFunctions) ? -1 : static_cast<int>(found - std::begin(kFunctions));
}

Value call_function(int function, Context& context, const Args& args) {
  switch (function) {
    case 1: return range(context, args);
    case 2: return make_dict(context, args);
    case 3: return strftime_now(context, args);
    default: return raise_exception(args, context.budget());
  }
}

const Value* Args::find(size_t position, std::string_view name) const {
  if (position < positional.size()) return &positional[position];
  for (const auto& [given, value] : named) {
    if (!name.empty() && given == name) return &value;
  }
  return nullptr;
}

void Args::check(const char* what, std::initializer_list<std::string_view> parameters) const {
  if (positional.size() > parameters.size()) fail(std::string(what) + "() got too many arguments");
  for (const auto& [given, value] : named) {
    if (std::find(parameters.begin(), parameters.end(), given) == parameters.end()) {
      fail(std::string(what) + "() has no argument '" + std::string(given.substr(0, 60)) + "'");
    }
  }
}

}  // namespace qwin::jinja
