// SPDX-License-Identifier: Apache-2.0
#include "chat/jinja/lexer.h"

#include <algorithm>

#include "chat/jinja/text.h"
#include "core/printable.h"
#include "qwin/error.h"

namespace qwin::jinja {
namespace {

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// All line ends become \n, and the last one goes.
std::string normalise(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalise(source)), text_(source_) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) lex_data();
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fault(const std::string& what) const { template_fault(line_, what); }
  bool at(std::string_view word) const { return text_.substr(at_, word.size()) == word; }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }
  void advance(size_t count) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<ptrdiff_t>(at_),
                                         text_.begin() + static_cast<ptrdiff_t>(at_ + count), '\n'));
    at_ += count;
  }
  void skip_space() { advance(strip_space(text_.substr(at_), true, false).first); }
  void skip_newline() {
    if (at("\n")) advance(1);
  }

  // Plain text up to the next tag, then the tag.
  void lex_data() {
    size_t tag = at_;
    while (true) {
      tag = text_.find('{', tag);
      if (tag == text_.npos || tag + 1 >= text_.size()) {
        add_data(text_.substr(at_));
        advance(text_.size() - at_);
        return;
      }
      if (text_[tag + 1] == '{' || text_[tag + 1] == '%' || text_[tag + 1] == '#') break;
      ++tag;
    }
    const char type = text_[tag + 1];
    const char sign = tag + 2 < text_.size() && (text_[tag + 2] == '-' || text_[tag + 2] == '+') ? text_[tag + 2] : 0;
    add_data(strip_before_tag(text_.substr(at_, tag - at_), type, sign));
    advance(tag - at_ + (sign ? 3 : 2));
    if (type == '#') return lex_comment();
    if (type == '{') return lex_expression(TokenKind::variable_begin, TokenKind::variable_end, "}}");
    if (!lex_raw()) lex_expression(TokenKind::block_begin, TokenKind::block_end, "%}");
  }

  void add_data(std::string_view data) {
    if (!data.empty()) add(TokenKind::data, std::string(data));
  }

  std::string_view strip_before_tag(std::string_view data, char type, char sign) const {
    if (sign == '-') return data.substr(0, strip_space(data, false, true).second);
    if (sign == '+' || type == '{') return data;
    const size_t newline = data.rfind('\n');
    const size_t line_start = newline == data.npos ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) return data;
    const std::string_view tail = data.substr(line_start);
    return strip_space(tail, true, false).first == tail.size() ? data.substr(0, line_start) : data;
  }

  // Consumes `-END`, `+END` or `END` with the white space each of them swallows. False when none is here.
  bool take_end(std::string_view end) {
    const bool block = end != "}}";
    if (at("-") && text_.substr(at_ + 1, 2) == end) {
      advance(3);
      skip_space();
    } else if (block && at("+") && text_.substr(at_ + 1, 2) == end) {
      advance(3);
    } else if (at(end)) {
      advance(2);
      if (block) skip_newline();
    } else {
      return false;
    }
    line_starting_ = text_[at_ - 1] == '\n';
    return true;
  }

  void lex_comment() {
    const int start = line_;
    while (at_ < text_.size()) {
      if (take_end("#}")) return;
      advance(1);
    }
    template_fault(start, "a comment is not closed");
  }

  // `raw %}` after a block's begin: text up to `{% endraw %}` is taken as it is.
  bool lex_raw() {
    size_t i = at_ + strip_space(text_.substr(at_), true, false).first;
    if (text_.substr(i, 3) != "raw") return false;
    i += 3;
    i += strip_space(text_.substr(i), true, false).first;
    const bool minus = text_.substr(i, 3) == "-%}";
    if (!minus && text_.substr(i, 2) != "%}") return false;
    advance(i - at_ + (minus ? 3 : 2));
    if (minus) skip_space();
    line_starting_ = text_[at_ - 1] == '\n';
    for (size_t tag = text_.find("{%", at_); tag != text_.npos; tag = text_.find("{%", tag + 1)) {
      if (end_raw(tag)) return true;
    }
    fault("raw is not closed");
  }

  bool end_raw(size_t tag) {
    size_t i = tag + 2;
    const char sign = i < text_.size() && (text_[i] == '-' || text_[i] == '+') ? text_[i++] : 0;
    i += strip_space(text_.substr(std::min(i, text_.size())), true, false).first;
    if (text_.substr(std::min(i, text_.size()), 6) != "endraw") return false;
    i += 6;
    i += strip_space(text_.substr(i), true, false).first;
    const std::string_view rest = text_.substr(i, 3);
    if (rest.substr(0, 2) != "%}" && rest != "-%}" && rest != "+%}") return false;
    add_data(strip_before_tag(text_.substr(at_, tag - at_), '%', sign));
    advance(i - at_);
    return take_end("%}");
  }

  void lex_expression(TokenKind begin, TokenKind finish, std::string_view end) {
    add(begin, "");
    const int start = line_;
    std::string open;  // brackets waiting to be closed
    while (true) {
      skip_space();
      if (at_ >= text_.size()) template_fault(start, "a tag is not closed");
      if (open.empty()) {
        const int line = line_;
        if (take_end(end)) {
          tokens_.push_back({finish, line, ""});
          return;
        }
      }
      lex_token(open);
    }
  }

  void lex_token(std::string& open) {
    const char c = text_[at_];
    if (is_digit(c)) return lex_number();
    if (is_name_start(c)) {
      size_t end = at_;
      while (end < text_.size() && (is_name_start(text_[end]) || is_digit(text_[end]))) ++end;
      add(TokenKind::name, std::string(text_.substr(at_, end - at_)));
      return advance(end - at_);
    }
    if (c == '\'' || c == '"') return lex_string(c);
    lex_operator(open);
  }

  void lex_operator(std::string& open) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!at(op)) continue;
      if (op == "[" || op == "(" || op == "{") open += op == "[" ? ']' : op == "(" ? ')' : '}';
      if (op == "]" || op == ")" || op == "}") {
        if (open.empty() || open.back() != op[0]) fault("unexpected '" + std::string(op) + "'");
        open.pop_back();
      }
      add(TokenKind::op, std::string(op));
      return advance(op.size());
    }
    fault("unexpected character " + printable(text_.substr(at_, char_length(text_, at_))));
  }

  size_t digits_from(size_t i) const {
    while (i < text_.size() &&
           (is_digit(text_[i]) || (text_[i] == '_' && i + 1 < text_.size() && is_digit(text_[i + 1]))))
      ++i;
    return i;
  }

  void lex_number() {
    size_t end = digits_from(at_);
    bool real = false;
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (!after_dot && end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
      end = digits_from(end + 1);
      real = true;
    }
    if (!after_dot && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      size_t digits = end + 1;
      if (digits < text_.size() && (text_[digits] == '+' || text_[digits] == '-')) ++digits;
      if (digits < text_.size() && is_digit(text_[digits])) {
        end = digits_from(digits);
        real = true;
      }
    }
    if (end < text_.size() && is_name_start(text_[end])) fault("numbers are written in decimal digits");
    std::string digits(text_.substr(at_, end - at_));
    std::erase(digits, '_');
    if (!real && digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of('0') != digits.npos) {
      fault("an integer does not begin with 0");
    }
    add(real ? TokenKind::real : TokenKind::integer, std::move(digits));
    advance(end - at_);
  }

  void lex_string(char quote) {
    const size_t begin = at_ + 1;
    size_t end = begin;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) fault("a string is not closed");
    add(TokenKind::string, unescape(text_.substr(begin, end - begin)));
    advance(end + 1 - at_);
  }

  std::string unescape(std::string_view raw) const {
    std::string out;
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '\\') {
        out += raw[i];
        continue;
      }
      const char c = raw[++i];
      static constexpr std::string_view kFrom = "\\'\"abfnrtv";
      static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t known = kFrom.find(c); known != kFrom.npos)
        out += kTo[known];
      else if (c == 'x')
        i += append_escape(out, raw.substr(i + 1), 2, 16);
      else if (c == 'u')
        i += append_escape(out, raw.substr(i + 1), 4, 16);
      else if (c == 'U')
        i += append_escape(out, raw.substr(i + 1), 8, 16);
      else if (c >= '0' && c <= '7')
        i += append_escape(out, raw.substr(i), 3, 8) - 1;
      else if (c == 'N')
        fault("the escape \\N{...} is not supported");
      else if (c != '\n')
        out += {'\\', c};
    }
    return out;
  }

  // Appends the character written with up to (octal) or exactly (hex) `width` digits; returns how many it took.
  size_t append_escape(std::string& out, std::string_view digits, size_t width, unsigned base) const {
    char32_t value = 0;
    size_t i = 0;
    for (; i < width && i < digits.size(); ++i) {
      const char c = digits[i];
      const unsigned digit = is_digit(c)            ? static_cast<unsigned>(c - '0')
                             : c >= 'a' && c <= 'f' ? static_cast<unsigned>(c - 'a' + 10)
                             : c >= 'A' && c <= 'F' ? static_cast<unsigned>(c - 'A' + 10)
                                                    : 99;
      if (digit >= base) break;
      value = value * base + digit;
    }
    if (base == 16 && i < width) fault("a \\x, \\u or \\U escape is too short");
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) fault("an escape names no Unicode character");
    append_utf8(out, value);
    return i;
  }

  const std::string source_;
  const std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (source.size() > kMaxTemplateBytes) {
    throw Error(ErrorCode::bad_template,
                "the chat template is larger than 256 KiB; no known one is larger than 40 KiB");
  }
  return Lexer(source).run();
}

void template_fault(int line, const std::string& what) {
  throw Error(ErrorCode::bad_template, "chat template line " + std::to_string(line) + ": " + what);
}

}  // namespace qwin::jinja
