// SPDX-License-Identifier: Apache-2.0
// Writes a GGUF file of version 3 front to back: first everything is announced, then the tensors' bytes follow.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"
#include "io/output_file.h"

namespace qwin {

class GgufFileWriter {
 public:
  // Throws Error(io) when the file cannot be made.
  explicit GgufFileWriter(const std::string& path) : file_(path) {}

  void add(std::string_view key, const GgufValue& value);
  void add_uint(std::string_view key, uint32_t value);
  void add_uints(std::string_view key, const std::vector<int32_t>& values);  // none is negative
  void add_string(std::string_view key, std::string_view text);
  // `shape` is outermost first.
  void add_tensor(std::string_view name, DType dtype, const std::vector<uint64_t>& shape);

  // The bytes of the next tensor, whole. Throws Error(io). Requires: as many as its type and shape ask for, and nothing
  // is added any more.
  void write_tensor(const std::byte* data, uint64_t bytes);
  // Requires: every tensor is written. Throws Error(io); only after it is the file there.
  void finish();

  uint64_t file_bytes() const { return file_.size(); }
  // What file_bytes() will be for what is announced so far.
  uint64_t announced_bytes() const;
  // Where this process can read the file before finish().
  std::string readable_path() const { return file_.readable_path(); }

 private:
  std::string header() const;
  void pad();

  OutputFile file_;
  std::string keys_, tensors_;
  std::vector<uint64_t> tensor_bytes_;
  uint64_t num_keys_ = 0, next_offset_ = 0;
  size_t next_tensor_ = 0;
};

// The id that a tensor type has in a file.
uint32_t gguf_type_id(DType dtype);

}  // namespace qwin
