// SPDX-License-Identifier: Apache-2.0
// Values as text: Python's str() and repr(), json.dumps(), and the way in from a JSON document.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "chat/jinja/value.h"

namespace qwin::jinja {
namespace {

const char* constant_text(const Value& value, bool json) {
  if (value.is(Type::none)) return json ? "null" : "None";
  if (value.number != 0) return json ? "true" : "True";
  return json ? "false" : "False";
}

// repr(str): single quotes unless only those occur; control characters escaped.
void append_repr(Text& out, const Text& text) {
  const std::string_view all = text.view();
  const bool double_quoted = all.find('\'') != all.npos && all.find('"') == all.npos;
  const char quote = double_quoted ? '"' : '\'';
  out.append(std::string_view(&quote, 1), Origin::data);
  text.for_each_piece(0, text.size(), [&](std::string_view piece, Origin origin) {
    std::string escaped;
    for (const char c : piece) {
      const auto byte = static_cast<unsigned char>(c);
      static constexpr char kHex[] = "0123456789abcdef";
      if (c == '\\' || c == quote)
        escaped += {'\\', c};
      else if (c == '\n')
        escaped += "\\n";
      else if (c == '\r')
        escaped += "\\r";
      else if (c == '\t')
        escaped += "\\t";
      else if (byte < 0x20 || byte == 0x7F)
        escaped += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      else
        escaped += c;
    }
    out.append(escaped, origin);
  });
  out.append(std::string_view(&quote, 1), Origin::data);
}

void append_str(Text& out, const Value& value, bool quoted, Budget& budget);

void append_list(Text& out, const List& list, Budget& budget) {
  if (list.kind != List::Kind::list && list.kind != List::Kind::tuple)
    fail("a generator, range or view cannot be printed");
  const bool tuple = list.kind == List::Kind::tuple;
  out.append(tuple ? "(" : "[", Origin::data);
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.append(", ", Origin::data);
    append_str(out, list.items[i], true, budget);
  }
  if (tuple && list.items.size() == 1) out.append(",", Origin::data);
  out.append(tuple ? ")" : "]", Origin::data);
}

void append_dict(Text& out, const Dict& dict, Budget& budget) {
  out.append("{", Origin::data);
  bool first = true;
  for (const auto& [key, item] : dict.items) {
    if (!first) out.append(", ", Origin::data);
    first = false;
    append_repr(out, *key);
    out.append(": ", Origin::data);
    append_str(out, item, true, budget);
  }
  out.append("}", Origin::data);
}

// Values nest at most kMaxValueDepth deep, so this recursion is bounded.
void append_str(Text& out, const Value& value, bool quoted, Budget& budget) {
  budget.step();
  switch (value.type) {
    case Type::undefined: out.append(quoted ? "Undefined" : "", Origin::data); return;
    case Type::none:
    case Type::boolean: out.append(constant_text(value, false), Origin::data); return;
    case Type::integer: out.append(integer_text(value.number), Origin::data); return;
    case Type::real: out.append(float_text(value.real), Origin::data); return;
    case Type::text: quoted ? append_repr(out, value.as_text()) : out.append(value.as_text()); return;
    case Type::list: append_list(out, value.as_list(), budget); return;
    case Type::dict: append_dict(out, value.as_dict(), budget); return;
    default: fail(std::string("a value of type '") + type_name(value) + "' cannot be printed");
  }
}

void append_unicode_escape(std::string& out, char32_t c) {
  char buffer[16];
  if (c >= 0x10000) {
    c -= 0x10000;
    std::snprintf(buffer, sizeof(buffer), "\\u%04x\\u%04x", 0xD800u + static_cast<unsigned>(c >> 10),
                  0xDC00u + static_cast<unsigned>(c & 0x3FF));
  } else {
    std::snprintf(buffer, sizeof(buffer), "\\u%04x", static_cast<unsigned>(c));
  }
  out += buffer;
}

void append_json_char(std::string& out, std::string_view character, bool ensure_ascii) {
  const char c = character[0];
  if (character.size() > 1) {
    ensure_ascii ? append_unicode_escape(out, decode_char(character)) : void(out += character);
    return;
  }
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    default: break;
  }
  const auto byte = static_cast<unsigned char>(c);
  if (byte < 0x20 || (ensure_ascii && byte >= 0x7F))
    append_unicode_escape(out, byte);
  else
    out += c;
}

class JsonWriter {
 public:
  JsonWriter(Text& out, const JsonStyle& style, Budget& budget) : out_(out), style_(style), budget_(budget) {}

  void write(const Value& value, int level) {
    budget_.step();
    switch (value.type) {
      case Type::none:
      case Type::boolean: return put(constant_text(value, true));
      case Type::integer: return put(integer_text(value.number));
      case Type::real:
        return put(std::isfinite(value.real) ? float_text(value.real)
                   : std::isnan(value.real)  ? "NaN"
                   : value.real > 0          ? "Infinity"
                                             : "-Infinity");
      case Type::text: return write_string(value.as_text());
      case Type::list:
        if (value.as_list().kind <= List::Kind::tuple) return write_list(value.as_list(), level);
        break;
      case Type::dict: return write_dict(value.as_dict(), level);
      default: break;
    }
    fail(std::string("a value of type '") + type_name(value) + "' has no JSON form");
  }

 private:
  void put(std::string_view bytes) { out_.append(bytes, Origin::data); }
  void newline(int level) {
    if (!style_.pretty) return;
    put("\n");
    for (int i = 0; i < level; ++i) put(style_.indent);
  }
  void write_string(const Text& text) {
    put("\"");
    text.for_each_piece(0, text.size(), [&](std::string_view piece, Origin origin) {
      std::string escaped;
      for (size_t i = 0; i < piece.size();) {
        const size_t length = char_length(piece, i);
        append_json_char(escaped, piece.substr(i, length), style_.ensure_ascii);
        i += length;
        if (escaped.size() >= 4096) {
          out_.append(escaped, origin);
          escaped.clear();
        }
      }
      out_.append(escaped, origin);
    });
    put("\"");
  }
  void write_list(const List& list, int level) {
    if (list.items.empty()) return put("[]");
    put("[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      newline(level + 1);
      write(list.items[i], level + 1);
    }
    newline(level);
    put("]");
  }
  void write_dict(const Dict& dict, int level) {
    if (dict.items.empty()) return put("{}");
    std::vector<const std::pair<TextPtr, Value>*> order;
    for (const auto& item : dict.items) order.push_back(&item);
    if (style_.sort_keys) {
      budget_.work(order.size() * 64);
      std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->first->view() < b->first->view(); });
    }
    put("{");
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      newline(level + 1);
      write_string(*order[i]->first);
      put(style_.key_separator);
      write(order[i]->second, level + 1);
    }
    newline(level);
    put("}");
  }

  Text& out_;
  const JsonStyle& style_;
  Budget& budget_;
};

Value from_json_at(const Json& json, Budget& budget, int depth) {
  budget.step();
  if (depth > kMaxJsonDepth) fail("the messages are nested too deep");
  switch (json.type()) {
    case Json::value_t::null: return Value::none();
    case Json::value_t::boolean: return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer: return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned: return Value::integer(json.get<uint64_t>());
    case Json::value_t::number_float: return Value::floating(json.get<double>());
    case Json::value_t::string: return Value::text(Text::borrow(&budget, json.get_ref<const std::string&>()));
    case Json::value_t::array: {
      auto list = std::make_shared<List>(&budget);
      list->reserve(json.size());
      for (const Json& item : json) list->push(from_json_at(item, budget, depth + 1));
      return {Type::list, 0, 0, std::move(list)};
    }
    case Json::value_t::object: {
      auto dict = std::make_shared<Dict>(&budget);
      for (auto it = json.begin(); it != json.end(); ++it) {
        budget.work(dict->items.size());
        dict->set(Text::borrow(&budget, it.key()), from_json_at(it.value(), budget, depth + 1));
      }
      return {Type::dict, 0, 0, std::move(dict)};
    }
    default: fail("a JSON value of an unknown kind");
  }
}

}  // namespace

TextPtr to_text(const Value& value, Budget& budget) {
  if (value.is(Type::text)) return value.text_ptr();
  auto out = std::make_shared<Text>(&budget);
  append_str(*out, value, false, budget);
  return out;
}

std::string integer_text(Int value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  std::string digits;
  for (; value != 0; value /= 10) {
    const int digit = static_cast<int>(value % 10);
    digits += static_cast<char>('0' + (digit < 0 ? -digit : digit));
  }
  if (negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  const size_t e = shortest.find('e');
  int exponent = 0;
  const char* exponent_start = shortest.data() + e + (shortest[e + 1] == '+' ? 2 : 1);
  std::from_chars(exponent_start, end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(shortest);  // to_chars writes at least two exponent digits

  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  const std::string sign = value < 0 || std::signbit(value) ? "-" : "";
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  return sign + digits.substr(0, whole) + "." + (digits.size() > whole ? digits.substr(whole) : "0");
}

Value from_json(const Json& json, Budget& budget) { return from_json_at(json, budget, 0); }

TextPtr to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  auto out = std::make_shared<Text>(&budget);
  JsonWriter(*out, style, budget).write(value, 0);
  return out;
}

}  // namespace qwin::jinja
