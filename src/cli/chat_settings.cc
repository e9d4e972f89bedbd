// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_settings.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <variant>

#include "core/printable.h"
#include "qwin/error.h"

namespace qwin {

namespace {

using Member = std::variant<float SamplingParams::*, int SamplingParams::*, std::optional<uint64_t> SamplingParams::*>;

struct Setting {
  const char* name;
  Member member;
};

constexpr Setting kSettings[] = {
    {"temperature", &SamplingParams::temperature},
    {"top_k", &SamplingParams::top_k},
    {"top_p", &SamplingParams::top_p},
    {"min_p", &SamplingParams::min_p},
    {"repetition_penalty", &SamplingParams::repetition_penalty},
    {"presence_penalty", &SamplingParams::presence_penalty},
    {"frequency_penalty", &SamplingParams::frequency_penalty},
    {"max_tokens", &SamplingParams::max_tokens},
    {"seed", &SamplingParams::seed},
};

std::string to_text(float value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", static_cast<double>(value));
  return text;
}
std::string to_text(int value) {
  return value == std::numeric_limits<int>::max() ? "until the context ends" : std::to_string(value);
}
std::string to_text(const std::optional<uint64_t>& value) { return value ? std::to_string(*value) : "not set"; }

template <typename T>
void parse(const char* name, const std::string& text, T& value) {
  T parsed{};
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (fault != std::errc() || end != text.data() + text.size())
    throw Error(ErrorCode::invalid_argument, std::string(name) + " cannot be " + printable(text));
  value = parsed;
}
void parse(const char* name, const std::string& text, std::optional<uint64_t>& value) {
  uint64_t seed = 0;
  parse(name, text, seed);
  value = seed;
}

}  // namespace

std::string settings_text(const SamplingParams& params) {
  std::string text;
  for (const Setting& setting : kSettings) {
    char line[96];
    const std::string value = std::visit([&](auto member) { return to_text(params.*member); }, setting.member);
    std::snprintf(line, sizeof(line), "%s%-20s%s", text.empty() ? "" : "\n", setting.name, value.c_str());
    text += line;
  }
  return text;
}

void change_setting(SamplingParams& params, const SamplingParams& defaults, std::string name,
                    const std::string& value) {
  std::ranges::replace(name, '-', '_');
  const auto* setting =
      std::ranges::find(kSettings, std::string_view(name), [](const Setting& s) { return std::string_view(s.name); });
  if (setting == std::end(kSettings))
    throw Error(ErrorCode::invalid_argument, "no setting " + printable(name) + "; /set shows them");
  SamplingParams changed = params;
  std::visit(
      [&](auto member) {
        if (value == "default") {
          changed.*member = defaults.*member;
        } else {
          parse(setting->name, value, changed.*member);
        }
      },
      setting->member);
  changed.validate();
  params = changed;
}

}  // namespace qwin
