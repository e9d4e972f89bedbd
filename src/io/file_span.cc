// SPDX-License-Identifier: Apache-2.0
#include "io/file_span.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/cpu_info.h"
#include "qwin/error.h"

namespace qwin {
namespace {

[[noreturn]] void throw_io(const std::string& path, const std::string& problem) {
  throw Error(ErrorCode::io, path + ": " + problem);
}

[[noreturn]] void throw_too_large(const std::string& path, uint64_t size) {
  const uint64_t available = address_space_left().value_or(uint64_t{1} << 47);
  throw Error(ErrorCode::does_not_fit, path + ": mapping it needs " + std::to_string(size) +
                                           " bytes of address space, " + std::to_string(available) + " are available");
}

// The size of a non-empty regular file.
uint64_t regular_size(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) throw_io(path, std::strerror(errno));
  if (S_ISDIR(info.st_mode)) throw_io(path, "is a directory");
  if (!S_ISREG(info.st_mode)) throw_io(path, "is not a regular file");
  if (info.st_size == 0) throw_io(path, "the file is empty");
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace

FileSpan FileSpan::sub(uint64_t offset, uint64_t length, const char* what) const {
  if (offset > size_ || length > size_ - offset) {
    throw Error(ErrorCode::out_of_file, std::string(what) + ": " + std::to_string(length) + " bytes at " +
                                            std::to_string(offset) + " reach past the end at " + std::to_string(size_));
  }
  return {data_ + offset, length};
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) throw_io(path, std::strerror(errno));
  try {
    const uint64_t size = regular_size(fd, path);
    void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED && errno == ENOMEM) throw_too_large(path, size);
    if (data == MAP_FAILED) throw_io(path, std::string("cannot be mapped: ") + std::strerror(errno));
    return std::shared_ptr<const MappedFile>(new MappedFile(path, fd, static_cast<const std::byte*>(data), size));
  } catch (...) {
    ::close(fd);
    throw;
  }
}

MappedFile::MappedFile(std::string path, int fd, const std::byte* data, uint64_t size)
    : path_(std::move(path)), fd_(fd), data_(data), size_(size) {}

MappedFile::~MappedFile() {
  munmap(const_cast<std::byte*>(data_), size_);
  ::close(fd_);
}

void MappedFile::read(uint64_t offset, void* out, size_t length) const {
  if (offset > size_ || length > size_ - offset) throw_io(path_, "a read past the end");
  char* to = static_cast<char*>(out);
  while (length > 0) {
    const ssize_t got = pread(fd_, to, length, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_io(path_, std::strerror(errno));
    if (got == 0) throw_io(path_, "the file became shorter while it was being read");
    to += got;
    offset += static_cast<uint64_t>(got);
    length -= static_cast<size_t>(got);
  }
}

void MappedFile::advise_sequential() const { posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL); }

}  // namespace qwin
