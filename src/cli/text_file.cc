// SPDX-License-Identifier: Apache-2.0
#include "cli/text_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "qwin/error.h"
#include "tokenizer/unicode.h"

namespace qwin {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) throw Error(ErrorCode::io, path + " cannot be read");
  std::ostringstream text;
  text << file.rdbuf();
  if (!unicode::is_valid_utf8(text.view())) throw Error(ErrorCode::invalid_argument, path + " is not UTF-8");
  return text.str();
}

}  // namespace qwin
