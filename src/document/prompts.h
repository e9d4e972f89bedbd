// SPDX-License-Identifier: Apache-2.0
// What a model is asked about a document.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qwin/document.h"

namespace qwin {

// Prompts that begin with the same instruction, so that it is read once.
class DocumentPrompts {
 public:
  DocumentPrompts(const Engine& engine, const DocumentOptions& options, std::string_view text);

  std::vector<int32_t> of_segment(std::string_view segment) const { return prompt(instruction_ + "\n\n", segment, ""); }
  // The instruction stands at both ends: what is asked decides what a token looks for in the text.
  std::vector<int32_t> of_document(std::string_view text) const {
    return prompt(instruction_ + "\n\n", text, "\n\n" + instruction_);
  }
  std::vector<int32_t> of_answers(std::span<const std::string> answers) const;
  const std::string& instruction() const { return instruction_; }
  const std::string& reduce_instruction() const { return reduce_instruction_; }

 private:
  std::vector<int32_t> prompt(const std::string& before, std::string_view text, const std::string& after) const;

  const Engine& engine_;
  const std::string system_;
  const bool raw_;
  std::string instruction_, reduce_instruction_;
};

}  // namespace qwin
