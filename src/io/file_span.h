// SPDX-License-Identifier: Apache-2.0
// The only way to file bytes: a mapped file hands out FileSpans, and a FileSpan hands out only what lies inside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace qwin {

// A read-only range of a mapped file. Does not own; the MappedFile must outlive it.
class FileSpan {
 public:
  FileSpan() = default;
  // A document that is already in memory (tests, fuzzers). The bytes must outlive the span.
  static FileSpan of_memory(const void* data, uint64_t size) { return {static_cast<const std::byte*>(data), size}; }

  // The part [offset, offset + length). Throws Error(out_of_file) naming `what` when it is not inside.
  FileSpan sub(uint64_t offset, uint64_t length, const char* what) const;

  const std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), static_cast<size_t>(size_)}; }

 private:
  friend class MappedFile;
  FileSpan(const std::byte* data, uint64_t size) : data_(data), size_(size) {}

  const std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

// Reads little-endian values one after the other; running out of bytes throws Error(out_of_file).
class SpanReader {
 public:
  explicit SpanReader(FileSpan span) : span_(span) {}

  template <typename T>
  T read(const char* what) {
    T value;
    std::memcpy(&value, span_.sub(position_, sizeof(T), what).data(), sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  FileSpan read_span(uint64_t length, const char* what) {
    FileSpan part = span_.sub(position_, length, what);
    position_ += length;
    return part;
  }
  uint64_t position() const { return position_; }
  uint64_t remaining() const { return span_.size() - position_; }

 private:
  FileSpan span_;
  uint64_t position_ = 0;
};

// A regular file mapped read-only. Anything that is no regular file, or is empty, throws Error(io).
// A file that another process shortens turns the lost pages into SIGBUS; read() reports it as an Error instead.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  FileSpan span() const { return FileSpan(data_, size_); }
  const std::string& path() const { return path_; }

  // Copies `length` bytes at `offset` through the descriptor, without touching the mapping. Throws Error(io).
  void read(uint64_t offset, void* out, size_t length) const;
  // Tells the system that the file will be read from front to back.
  void advise_sequential() const;

 private:
  MappedFile(std::string path, int fd, const std::byte* data, uint64_t size);

  std::string path_;
  int fd_;
  const std::byte* data_;
  uint64_t size_;
};

}  // namespace qwin
