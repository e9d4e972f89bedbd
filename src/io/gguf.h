// SPDX-License-Identifier: Apache-2.0
// GGUF version 2 and 3, one file or split (`-00001-of-0000N.gguf`). Format: ggml's docs/gguf.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/file_span.h"
#include "io/tensor_table.h"

namespace qwin {

// What no sane model exceeds; a file that claims more is refused with too_large before anything is allocated for it.
inline constexpr uint64_t kMaxGgufKeys = 65536;
inline constexpr uint64_t kMaxGgufStrings = 1u << 20;  // in all arrays together
inline constexpr uint64_t kMaxGgufMetadataBytes = 256u << 20;
inline constexpr uint64_t kMaxGgufDims = 4;
inline constexpr uint64_t kMaxGgufAlignment = 1u << 20;
inline constexpr uint64_t kMaxGgufSplits = 512;

// A file with tensors of qwin's own types says which version of them.
inline constexpr std::string_view kOwnFormatKey = "qwin.format_version";
inline constexpr uint32_t kOwnFormatVersion = 1;
inline constexpr uint32_t kResidualFormatVersion = 2;  // rows of matrices have residuals

enum class GgufType : uint32_t {
  u8 = 0,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64,
};

// A metadata value; scalars are widened, array elements of numeric types stay in the file.
struct GgufValue {
  GgufType type = GgufType::u8;
  uint64_t u = 0;                         // u8 … u64, boolean
  int64_t i = 0;                          // i8 … i64
  double f = 0;                           // f32, f64
  std::string_view s;                     // string
  GgufType element_type = GgufType::u8;   // array
  uint64_t count = 0;                     // array
  FileSpan elements;                      // array of numbers: packed little-endian
  std::vector<std::string_view> strings;  // array of strings
};

class GgufMetadata {
 public:
  // nullptr when the key is absent.
  const GgufValue* find(std::string_view key) const;
  // The value as asked; an absent key gives `fallback`, another type throws Error(bad_config) naming the key.
  uint64_t get_uint(std::string_view key, uint64_t fallback) const;
  double get_float(std::string_view key, double fallback) const;
  bool get_bool(std::string_view key, bool fallback) const;
  std::string_view get_string(std::string_view key, std::string_view fallback) const;
  const std::vector<std::pair<std::string_view, GgufValue>>& entries() const { return entries_; }
  // Throws Error(bad_config) when the key is already there.
  void add(std::string_view key, GgufValue value);

 private:
  std::vector<std::pair<std::string_view, GgufValue>> entries_;
  std::map<std::string_view, size_t> index_;
};

struct GgufFile {
  std::vector<std::shared_ptr<const MappedFile>> files;  // more than one when split; none when read from memory
  uint32_t version = 0;
  GgufMetadata metadata;
  TensorTable tensors;
};

// Reads one file's bytes, which must outlive the result; a split's other files are not looked for.
GgufFile read_gguf(FileSpan file);

// Opens a file, or all files of a split given its first. Throws Error with the class of the fault.
GgufFile open_gguf(const std::string& path);

}  // namespace qwin
