// SPDX-License-Identifier: Apache-2.0
// File operations whose failure must not lose data: durable writes, atomic names, locks, digests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace qwin {

// Owns a file descriptor.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle();
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// Throws Error naming the path and errno's text; a full disk or file limit is does_not_fit, all else io.
[[noreturn]] void throw_file_error(const std::string& doing, const std::filesystem::path& path, int error_number);

FileHandle open_for_update(const std::filesystem::path& path);  // read and write, created when absent
FileHandle open_for_read(const std::filesystem::path& path);
// False with errno set when not all bytes could be written.
bool write_at(int fd, const void* data, size_t size, uint64_t offset);

// Makes `from` durable and gives it the name `to` in one step; the directory is made durable too.
void publish_file(const std::filesystem::path& from, const std::filesystem::path& to);
// Writes a small file so that a reader sees the old text or the new one, never a mix.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);
// The whole text of a small file, or an empty string when it is absent, unreadable or larger than `limit`.
std::string read_small_file(const std::filesystem::path& path, size_t limit);
void make_directories(const std::filesystem::path& path);

// Bytes of the file that already occupy disk; 0 when absent.
uint64_t allocated_bytes(const std::filesystem::path& path);
// Throws Error(does_not_fit) when the disk under `directory` has less than `needed` bytes free.
void require_disk_space(const std::filesystem::path& directory, uint64_t needed);

// Lower-case hex digests of a whole file. Stops with Error(cancelled) on Ctrl-C.
std::string sha256_of_file(const std::filesystem::path& path);
std::string git_blob_id_of_file(const std::filesystem::path& path);  // SHA-1 as git names the content
std::string sha256_of_text(std::string_view text);

// An exclusive lock on a lock file, released at destruction or when the process dies.
class FileLock {
 public:
  // False when another process holds it.
  bool try_lock(const std::filesystem::path& path);
  // Waits; stops with Error(cancelled) on Ctrl-C.
  void lock(const std::filesystem::path& path);

 private:
  FileHandle file_;
};

}  // namespace qwin
