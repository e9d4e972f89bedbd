// SPDX-License-Identifier: Apache-2.0
// What a model is asked about a document.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qwin/document.h"

namespace qwin {

// A short instruction stands behind the text it is about: there small models heed it most, and the next question about
// the same text finds it in the prefix cache. A long one stands before it, so that it is read once for all segments.
class DocumentPrompts {
 public:
  DocumentPrompts(const Engine& engine, const DocumentOptions& options, std::string_view text);

  std::vector<int32_t> of_segment(std::string_view segment) const { return prompt(of_segment_, segment); }
  std::vector<int32_t> of_document(std::string_view text) const { return prompt(of_document_, text); }
  std::vector<int32_t> of_answers(std::span<const std::string> answers) const;
  const std::string& segment_instruction() const { return of_segment_.text; }

 private:
  struct Instruction {
    std::string text;
    bool is_long = false;
  };

  Instruction instruction(std::string text) const;
  std::vector<int32_t> prompt(const Instruction& instruction, std::string_view text) const;

  const Engine& engine_;
  const std::string system_;
  const bool raw_;
  Instruction of_segment_, of_document_, of_answers_;
};

}  // namespace qwin
