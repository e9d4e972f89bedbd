// SPDX-License-Identifier: Apache-2.0
#include "document/prompts.h"

#include "core/json.h"
#include "document/sentences.h"

namespace qwin {

namespace {

std::string default_instruction(bool chinese) {
  return chinese ? "请概括下面的文字。" : "Summarize the following text.";
}

std::string default_reduce_instruction(bool chinese, const std::string& asked) {
  if (asked.empty()) {
    return chinese ? "下面依次是一份文档各部分的概括。请把它们合并成整份文档的一份概括，不要重复。"
                   : "Below are summaries of the consecutive parts of one document. Merge them into one summary of the "
                     "whole document, without repetitions.";
  }
  return chinese ? "对一份文档的各部分依次提出了这个要求：" + asked +
                       "\n下面是各部分的回答。请合并成对整份文档的一个回答，不要重复。"
                 : "Consecutive parts of one document were each given this instruction: " + asked +
                       "\nBelow are the answers. Merge them into one answer about the whole document, without "
                       "repetitions.";
}

}  // namespace

DocumentPrompts::DocumentPrompts(const Engine& engine, const DocumentOptions& options, std::string_view text)
    : engine_(engine), system_(options.system), raw_(options.raw) {
  const bool chinese = is_mostly_chinese(options.instruction.empty() ? text : std::string_view(options.instruction));
  instruction_ = options.instruction.empty() ? default_instruction(chinese) : options.instruction;
  reduce_instruction_ = options.reduce_instruction.empty() ? default_reduce_instruction(chinese, options.instruction)
                                                           : options.reduce_instruction;
}

std::vector<int32_t> DocumentPrompts::of_answers(std::span<const std::string> answers) const {
  std::string text;
  for (size_t i = 0; i < answers.size(); ++i) {
    text += (i > 0 ? "\n\n" : "") + std::to_string(i + 1) + ". " + answers[i];
  }
  return prompt(reduce_instruction_ + "\n\n", text, "");
}

std::vector<int32_t> DocumentPrompts::prompt(const std::string& before, std::string_view text,
                                             const std::string& after) const {
  const std::string content = before + std::string(text) + after;
  if (raw_) return engine_.tokenize(content, false);
  Json messages = Json::array();
  if (!system_.empty()) messages.push_back({{"role", "system"}, {"content", system_}});
  messages.push_back({{"role", "user"}, {"content", content}});
  return engine_.tokenize_chat(messages.dump());
}

}  // namespace qwin
