// SPDX-License-Identifier: Apache-2.0
// A model's directory: opens the files asked for and no other, and never one that lies outside.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "io/file_span.h"

namespace qwin {

class ModelDirectory {
 public:
  // Throws Error(io) when there is no such directory.
  explicit ModelDirectory(const std::string& path);

  // True when there is a directory entry of that name, be it good or bad.
  bool contains(const std::string& name) const;
  // Throws Error(path) when the name is no plain file name, or is a link to something outside: allowed are targets in
  // the directory itself and, in the hub's cache, `<root>/snapshots/<revision>/x -> <root>/blobs/y`. Throws Error(io)
  // as MappedFile::open does.
  std::shared_ptr<const MappedFile> open(const std::string& name) const;
  // The text of a document of at most `max_bytes`, or nothing when there is none.
  std::optional<std::string> read_text(const std::string& name, uint64_t max_bytes) const;

  const std::string& path() const { return path_; }

 private:
  std::string path_;  // canonical
};

// Throws Error(path) unless `name` is a plain file name.
void check_file_name(std::string_view name);

}  // namespace qwin
