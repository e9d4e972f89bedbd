// SPDX-License-Identifier: Apache-2.0
#include "io/model_directory.h"

#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "core/printable.h"
#include "qwin/error.h"

namespace qwin {
namespace {

std::string canonical(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) throw Error(ErrorCode::io, path + ": " + std::strerror(errno));
  return resolved;
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// The hub's cache keeps contents by hash in blobs/ and links to them from snapshots/<revision>/.
bool is_hub_blob(const std::string& directory, const std::string& target) {
  const std::string snapshots = parent_of(directory);
  return name_of(snapshots) == "snapshots" && parent_of(target) == parent_of(snapshots) + "/blobs";
}

}  // namespace

void check_file_name(std::string_view name) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.size() <= NAME_MAX &&
                     name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
  if (!plain) throw Error(ErrorCode::path, printable(name) + " is not the name of a file in the model's directory");
}

ModelDirectory::ModelDirectory(const std::string& path) : path_(canonical(path)) {
  struct stat info;
  if (stat(path_.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) throw Error(ErrorCode::io, path + ": is no directory");
}

bool ModelDirectory::contains(const std::string& name) const {
  struct stat info;
  return lstat((path_ + "/" + name).c_str(), &info) == 0;
}

std::shared_ptr<const MappedFile> ModelDirectory::open(const std::string& name) const {
  check_file_name(name);
  const std::string target = canonical(path_ + "/" + name);
  if (parent_of(target) != path_ && !is_hub_blob(path_, target)) {
    throw Error(ErrorCode::path, printable(name) + " is a link to a file outside the model's directory");
  }
  return MappedFile::open(target);
}

std::optional<std::string> ModelDirectory::read_text(const std::string& name, uint64_t max_bytes) const {
  if (!contains(name)) return std::nullopt;
  const std::shared_ptr<const MappedFile> file = open(name);
  if (file->span().size() > max_bytes) {
    throw Error(ErrorCode::too_large, name + " has " + std::to_string(file->span().size()) + " bytes, more than " +
                                          std::to_string(max_bytes));
  }
  std::string text(file->span().size(), '\0');
  file->read(0, text.data(), text.size());
  return text;
}

}  // namespace qwin
