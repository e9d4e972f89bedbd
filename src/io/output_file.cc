// SPDX-License-Identifier: Apache-2.0
#include "io/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "qwin/error.h"

namespace qwin {
namespace {

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// The rights a new file gets.
mode_t usual_mode() {
  const mode_t mask = umask(0);
  umask(mask);
  return 0666 & ~mask;
}

}  // namespace

OutputFile::OutputFile(const std::string& path) : path_(path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    throw Error(ErrorCode::io, path + ": is there and no regular file; give another name");
  }
  fd_ = open(parent_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (fd_ >= 0) return;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) fail("cannot be written");
  temporary_ = path + ".XXXXXX";
  fd_ = mkstemp(temporary_.data());
  if (fd_ < 0) {
    temporary_.clear();
    fail("cannot be written");
  }
  fchmod(fd_, usual_mode());
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void OutputFile::fail(const char* what) const {
  throw Error(ErrorCode::io, path_ + ": " + what + ": " + std::strerror(errno));
}

void OutputFile::write(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  for (size_t left = bytes; left > 0;) {
    const ssize_t written = ::write(fd_, at, left);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    at += written;
    left -= static_cast<size_t>(written);
  }
  size_ += bytes;
}

std::string OutputFile::readable_path() const {
  return temporary_.empty() ? "/proc/self/fd/" + std::to_string(fd_) : temporary_;
}

void OutputFile::commit() {
  if (fsync(fd_) != 0) fail("cannot be put on the disk");
  if (temporary_.empty()) {  // a name of its own first: linkat() does not replace
    std::string name = path_ + ".XXXXXX";
    const int placeholder = mkstemp(name.data());
    if (placeholder < 0) fail("cannot be named");
    close(placeholder);
    unlink(name.c_str());
    if (linkat(AT_FDCWD, readable_path().c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      fail("cannot be named");
    temporary_ = name;
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be named");
  temporary_.clear();
  const int directory = open(parent_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    fsync(directory);
    close(directory);
  }
}

}  // namespace qwin
