// SPDX-License-Identifier: Apache-2.0
#include "hub/files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "hub/interrupt.h"
#include "qwin/error.h"

namespace qwin {
namespace fs = std::filesystem;

namespace {

class Digest {
 public:
  explicit Digest(const EVP_MD* algorithm) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_) throw std::bad_alloc();
    EVP_DigestInit_ex(context_.get(), algorithm, nullptr);
  }
  void update(const void* data, size_t size) { EVP_DigestUpdate(context_.get(), data, size); }
  std::string hex() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), bytes, &size);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      text += "0123456789abcdef"[bytes[i] >> 4];
      text += "0123456789abcdef"[bytes[i] & 15];
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

void digest_file(const fs::path& path, Digest& digest) {
  const FileHandle file = open_for_read(path);
  std::vector<char> buffer(1 << 20);
  while (true) {
    throw_if_interrupted();
    const ssize_t got = read(file.fd(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error("read", path, errno);
    if (got == 0) return;
    digest.update(buffer.data(), static_cast<size_t>(got));
  }
}

// `path` is empty for that of a bare file name: the working directory.
void sync_directory(const fs::path& path) {
  const FileHandle directory(open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a directory; the rename is atomic there all the same.
  if (directory.fd() < 0 || (fsync(directory.fd()) != 0 && errno != EINVAL)) throw_file_error("sync", path, errno);
}

}  // namespace

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileHandle::~FileHandle() {
  if (fd_ >= 0) close(fd_);
}

void throw_file_error(const std::string& doing, const fs::path& path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  throw Error(full ? ErrorCode::does_not_fit : ErrorCode::io,
              "cannot " + doing + " " + path.string() + ": " + std::strerror(error_number));
}

FileHandle open_for_update(const fs::path& path) {
  FileHandle file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (file.fd() < 0) throw_file_error("write", path, errno);
  return file;
}

FileHandle open_for_read(const fs::path& path) {
  FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) throw_file_error("read", path, errno);
  return file;
}

bool write_at(int fd, const void* data, size_t size, uint64_t offset) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t put = pwrite(fd, bytes, size, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    bytes += put;
    offset += static_cast<uint64_t>(put);
    size -= static_cast<size_t>(put);
  }
  return true;
}

void publish_file(const fs::path& from, const fs::path& to) {
  {
    const FileHandle file = open_for_read(from);
    if (fsync(file.fd()) != 0) throw_file_error("sync", from, errno);
  }
  if (rename(from.c_str(), to.c_str()) != 0) throw_file_error("rename to", to, errno);
  sync_directory(to.parent_path());
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  const fs::path temporary = path.string() + ".new";
  {
    const FileHandle file = open_for_update(temporary);
    if (ftruncate(file.fd(), 0) != 0 || !write_at(file.fd(), text.data(), text.size(), 0)) {
      throw_file_error("write", temporary, errno);
    }
  }
  publish_file(temporary, path);
}

std::string read_small_file(const fs::path& path, size_t limit) {
  const FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (file.fd() < 0 || fstat(file.fd(), &status) != 0 || !S_ISREG(status.st_mode)) return "";
  if (static_cast<uint64_t>(status.st_size) > limit) return "";
  std::string text(static_cast<size_t>(status.st_size), '\0');
  const ssize_t got = pread(file.fd(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw_file_error("create", path, error.value());
}

uint64_t allocated_bytes(const fs::path& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 ? static_cast<uint64_t>(status.st_blocks) * 512 : 0;
}

void require_disk_space(const fs::path& directory, uint64_t needed) {
  struct statvfs disk;
  if (statvfs(directory.c_str(), &disk) != 0) throw_file_error("ask the free space of", directory, errno);
  const uint64_t available = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (needed <= available) return;
  throw Error(ErrorCode::does_not_fit, "needs " + std::to_string(needed) + " bytes on disk, " +
                                           std::to_string(available) + " available under " + directory.string() +
                                           "; free some, or set QWIN_HOME to a larger disk");
}

std::string sha256_of_file(const fs::path& path) {
  Digest digest(EVP_sha256());
  digest_file(path, digest);
  return digest.hex();
}

std::string git_blob_id_of_file(const fs::path& path) {
  Digest digest(EVP_sha1());
  const std::string header = "blob " + std::to_string(fs::file_size(path));
  digest.update(header.c_str(), header.size() + 1);  // with its NUL
  digest_file(path, digest);
  return digest.hex();
}

std::string sha256_of_text(std::string_view text) {
  Digest digest(EVP_sha256());
  digest.update(text.data(), text.size());
  return digest.hex();
}

bool FileLock::try_lock(const fs::path& path) {
  make_directories(path.parent_path());
  if (file_.fd() < 0) file_ = open_for_update(path);
  if (flock(file_.fd(), LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK && errno != EINTR) throw_file_error("lock", path, errno);
  return false;
}

void FileLock::lock(const fs::path& path) {
  while (!try_lock(path)) {
    throw_if_interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace qwin
