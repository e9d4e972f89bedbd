// SPDX-License-Identifier: Apache-2.0
// Arithmetic and slices by Python's rules.
#include <algorithm>
#include <cmath>

#include "chat/jinja/interpreter.h"

namespace qwin::jinja {
namespace {

[[noreturn]] void no_operator(Op op, const Value& left, const Value& right) {
  static constexpr const char* kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};
  if (op == Op::mod && left.is(Type::text)) fail("text formatting with % is not supported");
  fail(std::string("'") + type_name(left) + "' " + kSigns[static_cast<int>(op)] + " '" + type_name(right) +
       "' is not defined");
}

Int power(Int base, Int exponent) {
  Int result = 1;
  for (Int i = 0; i < exponent; ++i) {
    if (base == 0 || base == 1) return base;
    if (base == -1) return exponent % 2 == 0 ? 1 : -1;
    if (__builtin_mul_overflow(result, base, &result)) fail("an integer is too large");
  }
  return result;
}

Value integer_op(Op op, Int a, Int b) {
  Int result = 0;
  bool overflow = false;
  switch (op) {
    case Op::add: overflow = __builtin_add_overflow(a, b, &result); break;
    case Op::sub: overflow = __builtin_sub_overflow(a, b, &result); break;
    case Op::mul: overflow = __builtin_mul_overflow(a, b, &result); break;
    case Op::pow:
      if (b < 0) return Value::floating(std::pow(static_cast<double>(a), static_cast<double>(b)));
      result = power(a, b);
      break;
    default:
      if (b == 0) fail("division by zero");
      if (op == Op::div) return Value::floating(static_cast<double>(a) / static_cast<double>(b));
      if (b == -1) {  // the one quotient that can overflow
        if (op == Op::mod) break;
        overflow = __builtin_sub_overflow(Int{0}, a, &result);
        break;
      }
      result = a / b;
      if (a % b != 0 && (a < 0) != (b < 0)) --result;
      if (op == Op::mod) result = a - result * b;
  }
  if (overflow) fail("an integer is too large");
  return Value::integer(result);
}

double real_op(Op op, double a, double b) {
  switch (op) {
    case Op::add: return a + b;
    case Op::sub: return a - b;
    case Op::mul: return a * b;
    case Op::pow: return std::pow(a, b);
    default: break;
  }
  if (b == 0) fail("division by zero");
  if (op == Op::div) return a / b;
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  return op == Op::mod ? remainder : std::floor((a - remainder) / b + 0.5);
}

// The items a slice picks: start, start + step, ... `count` times.
struct Picks {
  Int start = 0, step = 1, count = 0;
};

Picks resolve(const Value* start, const Value* stop, const Value* step, Int size) {
  Picks picks;
  picks.step = step ? step->number : 1;
  if (picks.step == 0) fail("a slice's step cannot be zero");
  const bool down = picks.step < 0;
  const Int low = down ? -1 : 0;
  const Int high = down ? size - 1 : size;
  const auto clamp = [&](const Value* given, Int fallback) {
    if (!given) return fallback;
    const Int index = given->number < 0 ? given->number + size : given->number;
    return std::clamp(index, low, high);
  };
  picks.start = clamp(start, down ? high : low);
  const Int end = clamp(stop, down ? low : high);
  const Int distance = down ? picks.start - end : end - picks.start;
  const Int stride = down ? -picks.step : picks.step;
  if (distance > 0) picks.count = (distance - 1) / stride + 1;
  return picks;
}

Value slice_text(const Value& object, const Value* start, const Value* stop, const Value* step, Budget& budget) {
  const Text& text = object.as_text();
  const std::string_view view = text.view();
  budget.work(view.size());
  const auto size = static_cast<Int>(count_chars(view));
  const Picks picks = resolve(start, stop, step, size);
  if (picks.step == 1) {
    size_t begin = 0;
    for (Int i = 0; i < picks.start; ++i) begin += char_length(view, begin);
    size_t end = begin;
    for (Int i = 0; i < picks.count; ++i) end += char_length(view, end);
    return Value::text(text.sub(begin, end));
  }
  Charge charge(&budget);
  charge.set(static_cast<size_t>(size) * sizeof(uint32_t));
  std::vector<uint32_t> offsets;
  offsets.reserve(static_cast<size_t>(size));
  for (size_t i = 0; i < view.size(); i += char_length(view, i)) offsets.push_back(static_cast<uint32_t>(i));
  auto picked = std::make_shared<Text>(&budget);
  for (Int i = 0; i < picks.count; ++i) {
    const size_t offset = offsets[static_cast<size_t>(picks.start + i * picks.step)];
    picked->append(text, offset, offset + char_length(view, offset));
  }
  return Value::text(std::move(picked));
}

}  // namespace

Value number_op(Op op, const Value& left, const Value& right) {
  if (left.is(Type::undefined) || right.is(Type::undefined)) fail("an operand is undefined");
  if (!left.is_number() || !right.is_number()) no_operator(op, left, right);
  if (left.is_integral() && right.is_integral()) return integer_op(op, left.number, right.number);
  return Value::floating(real_op(op, left.as_double(), right.as_double()));
}

Value slice_value(const Value& object, const Value* start, const Value* stop, const Value* step, Budget& budget) {
  if (object.is(Type::text)) return slice_text(object, start, stop, step, budget);
  if (object.is(Type::undefined)) fail("an undefined value cannot be sliced");
  if (!object.is(Type::list) || object.as_list().kind > List::Kind::range) return {};
  const auto& items = object.as_list().items;
  const Picks picks = resolve(start, stop, step, static_cast<Int>(items.size()));
  auto list = std::make_shared<List>(&budget, object.as_list().kind);
  budget.work(static_cast<size_t>(picks.count));
  list->reserve(static_cast<size_t>(picks.count));
  for (Int i = 0; i < picks.count; ++i) list->push(items[static_cast<size_t>(picks.start + i * picks.step)]);
  return {Type::list, 0, 0, std::move(list)};
}

}  // namespace qwin::jinja
