// SPDX-License-Identifier: Apache-2.0
// A file of answers over segments, so that an interrupted document goes on where it was. Lines of JSON: first what the
// answers belong to, then one an answer; a line cut off by a crash is left out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hub/files.h"

namespace qwin {

class Journal {
 public:
  // `key` stands for the document and everything that decides the answers. Fills in the answers that are there.
  // Throws Error: io, or invalid_argument when the file holds something else.
  Journal(const std::string& path, const std::string& key, std::vector<std::optional<std::string>>& answers);

  // Throws Error(io).
  void add(size_t segment, const std::string& answer);
  // The document is done.
  void remove();

 private:
  void append(const std::string& line);

  std::string path_;
  FileHandle file_;
};

}  // namespace qwin
