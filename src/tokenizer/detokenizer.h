// SPDX-License-Identifier: Apache-2.0
// Token ids to text as they come. Each piece is whole characters; all pieces together are Tokenizer::decode(ids, true).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tokenizer/tokenizer.h"

namespace qwin {

class Detokenizer {
 public:
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}

  // The text that is certain once this token has come; often empty within a character.
  std::string push(int32_t id);
  // What is left when no token follows: U+FFFD for a cut character. The object is as new then.
  std::string flush();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string pending_;  // at most three bytes: the begin of a character
};

}  // namespace qwin
