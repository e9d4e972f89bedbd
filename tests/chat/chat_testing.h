// SPDX-License-Identifier: Apache-2.0
// Helpers of the chat tests.
#pragma once

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "chat/chat_template.h"

namespace qwin {

inline std::string read_testdata(const std::string& name) {
  std::ifstream file(std::string(QWIN_TESTDATA) + "/" + name, std::ios::binary);
  if (!file) throw std::runtime_error("no test data " + name);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::string joined(const std::vector<RenderedSegment>& segments) {
  std::string text;
  for (const RenderedSegment& segment : segments) text += segment.text;
  return text;
}

// "class: detail" of the Error that `action` throws, "" when it throws none.
template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "";
}

}  // namespace qwin
