// SPDX-License-Identifier: Apache-2.0
// Puts a message together from the lines that were typed: """ … """ and a backslash at the end go over several lines.
#pragma once

#include <string>
#include <string_view>

namespace qwin {

class MessageAssembler {
 public:
  // Takes a line without its line break (a pasted one may hold several). True when the message is complete.
  bool feed(std::string_view line);
  // The message; the assembler is then empty again.
  std::string take();
  void clear() { take(); }
  bool is_empty() const { return state_ == State::empty; }

 private:
  enum class State { empty, quoted, continued };

  State state_ = State::empty;
  std::string text_;
};

}  // namespace qwin
