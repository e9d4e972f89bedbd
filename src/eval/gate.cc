// SPDX-License-Identifier: Apache-2.0
#include "eval/gate.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "qwin/error.h"

namespace qwin {
namespace {

struct Figure {
  std::string_view name;
  double Divergence::* value;
  bool is_upper;  // less is better
};

constexpr Figure kFigures[] = {
    {"kld", &Divergence::mean_kl, true}, {"p999", &Divergence::kl_p999, true}, {"top1", &Divergence::top1, false}};

std::string figures_text(const Divergence& d) {
  char text[160];
  std::snprintf(text, sizeof text, "kld %.6f, p999 %.5f, top1 %.4f over %lld positions", d.mean_kl, d.kl_p999, d.top1,
                static_cast<long long>(d.positions));
  return text;
}

}  // namespace

Gate::Gate(std::string_view conditions) {
  while (true) {
    const size_t comma = conditions.find(',');
    conditions_.push_back(parse(conditions.substr(0, comma)));
    if (comma == std::string_view::npos) return;
    conditions.remove_prefix(comma + 1);
  }
}

Gate::Condition Gate::parse(std::string_view text) {
  for (const Figure& figure : kFigures) {
    const std::string begin = std::string(figure.name) + (figure.is_upper ? "<=" : ">=");
    if (!text.starts_with(begin)) continue;
    double limit = 0;
    const char* end = text.data() + text.size();
    const auto [stop, fault] = std::from_chars(text.data() + begin.size(), end, limit);
    if (fault != std::errc() || stop != end || !(limit >= 0) || (!figure.is_upper && limit > 1)) break;
    return {std::string(text), figure.value, figure.is_upper, limit};
  }
  throw Error(ErrorCode::invalid_argument,
              "a gate's condition is kld<=X, p999<=X (nats) or top1>=X (0 to 1), not " + std::string(text));
}

void Gate::check(const Divergence& measured) const {
  for (const Condition& condition : conditions_) {
    const double figure = measured.*condition.figure;
    if (condition.is_upper ? figure <= condition.limit : figure >= condition.limit) continue;
    throw Error(ErrorCode::gate_missed, condition.text + " is missed: " + figures_text(measured));
  }
}

}  // namespace qwin
