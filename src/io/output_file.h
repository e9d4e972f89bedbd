// SPDX-License-Identifier: Apache-2.0
// A file that is there whole or not at all: its bytes have no name until commit().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace qwin {

// Where the file system can, the bytes lie in a file without a name, which no kill can leave behind; elsewhere in
// `PATH.XXXXXX`, which the destructor removes. Throws Error(io) naming the path. Not thread-safe.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t bytes);
  uint64_t size() const { return size_; }
  // Where this process can read what is written so far; gone with this object.
  std::string readable_path() const;
  // Puts the bytes on the disk and gives them their name, in place of a file that has it.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::string path_, temporary_;  // temporary_ is empty while there is no name
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace qwin
