// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/detokenizer.h"

#include "tokenizer/unicode.h"

namespace qwin {

std::string Detokenizer::push(int32_t id) {
  std::string text;
  if (tokenizer_->is_special(id)) return text;
  pending_ += tokenizer_->token_bytes(id);
  const size_t left = unicode::append_replacing_invalid(text, pending_);
  pending_.erase(0, pending_.size() - left);
  return text;
}

std::string Detokenizer::flush() {
  std::string text(pending_.empty() ? std::string_view() : unicode::kReplacementCharacter);
  pending_.clear();
  return text;
}

}  // namespace qwin
