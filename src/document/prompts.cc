// SPDX-License-Identifier: Apache-2.0
#include "document/prompts.h"

#include "core/json.h"
#include "document/sentences.h"

namespace qwin {

namespace {

constexpr char kRule[] = "\n\n---\n\n";
constexpr size_t kLongInstruction = 128;  // tokens

// The built-in instructions, `%` being what the user asked. Of a text its points: asked for a summary, small models
// copy its beginning. Of many points a paragraph: asked for points, they copy the first ones.
struct Instructions {
  const char *summary_of_segment, *summary_of_document, *summary_of_answers, *asked_of_answers;
};

constexpr Instructions kEnglish = {
    "List the main points of the text above, at most six, each in one short sentence. Keep names, amounts and dates.",
    "List the main points of the text above, at most ten, each in one short sentence. Keep names, amounts and dates.",
    "The points above are from the parts of one document, in order. In one paragraph of at most 120 words, say what "
    "the document is and what matters most in it. Keep names, amounts and dates.",
    "Above are the answers that the parts of one document gave to this: %\nWrite the best answer."};
constexpr Instructions kChinese = {
    "列出上文的要点，最多六条，每条一个短句。保留名称、金额和日期。",
    "列出上文的要点，最多十条，每条一个短句。保留名称、金额和日期。",
    "以上依次是一份文档各部分的要点。用一段不超过二百字的话说明这份文档是什么、什么最重要。保留名称、金额和日期。",
    "以上是一份文档的各部分对下面这个要求的回答：%\n请写出最好的回答。"};

std::string filled(std::string_view pattern, const std::string& asked) {
  const size_t at = pattern.find('%');
  return std::string(pattern.substr(0, at)) + asked + std::string(pattern.substr(at + 1));
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n\f");
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n\f") + 1 - begin);
}

}  // namespace

DocumentPrompts::DocumentPrompts(const Engine& engine, const DocumentOptions& options, std::string_view text)
    : engine_(engine), system_(options.system), raw_(options.raw) {
  const std::string& asked = options.instruction;
  const Instructions& built_in =
      is_mostly_chinese(asked.empty() ? text : std::string_view(asked)) ? kChinese : kEnglish;
  of_segment_ = instruction(asked.empty() ? built_in.summary_of_segment : asked);
  of_document_ = instruction(asked.empty() ? built_in.summary_of_document : asked);
  const std::string& reduce = options.reduce_instruction;
  of_answers_ = instruction(!reduce.empty() ? reduce
                            : asked.empty() ? built_in.summary_of_answers
                                            : filled(built_in.asked_of_answers, asked));
}

DocumentPrompts::Instruction DocumentPrompts::instruction(std::string text) const {
  const bool is_long = engine_.tokenize(text, false).size() >= kLongInstruction;
  return {std::move(text), is_long};
}

std::vector<int32_t> DocumentPrompts::of_answers(std::span<const std::string> answers) const {
  std::string text;
  for (const std::string& answer : answers) text += (text.empty() ? "" : "\n\n") + std::string(trimmed(answer));
  return prompt(of_answers_, text);
}

std::vector<int32_t> DocumentPrompts::prompt(const Instruction& instruction, std::string_view text) const {
  const std::string body(trimmed(text));
  const std::string content = instruction.is_long ? instruction.text + kRule + body : body + kRule + instruction.text;
  if (raw_) return engine_.tokenize(content, false);
  Json messages = Json::array();
  if (!system_.empty()) messages.push_back({{"role", "system"}, {"content", system_}});
  messages.push_back({{"role", "user"}, {"content", content}});
  return engine_.tokenize_chat(messages.dump());
}

}  // namespace qwin
