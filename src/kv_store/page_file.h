// SPDX-License-Identifier: Apache-2.0
// One page of the prefix cache as a file.
//
//   offset  bytes  what
//   0       8      "qwinpage"
//   8       4      version, little-endian as all that follows
//   12      4      number of tokens n, 1 … 64
//   16      8      payload bytes p
//   24      32     parent's name
//   56      32     SHA-256 of the payload
//   88      4 n    token ids
//   88+4n   p      K and V
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kv_cache/page_archive.h"

namespace qwin {

inline constexpr std::string_view kPageFilePart = ".part";

struct PageFileHeader {
  PageDigest parent{};
  std::vector<int32_t> tokens;
  PageDigest payload_digest{};
};

PageDigest sha256(std::span<const std::byte> bytes);

std::string page_file_name(const PageDigest& digest);
// nullopt for a name that page_file_name() does not give.
std::optional<PageDigest> page_file_digest(std::string_view name);
uint64_t page_file_size(size_t num_tokens, size_t payload_bytes);

// True when the file is there under its name, whole and on disk.
bool write_page_file(const std::filesystem::path& directory, const PageDigest& digest, const PageFileHeader& header,
                     std::span<const std::byte> payload);

// An open file; reads never trust what they find. Reasons: missing, size, header, payload, io.
class PageFile {
 public:
  explicit PageFile(const std::filesystem::path& path);
  ~PageFile();
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;

  // Empty when the file is open and regular.
  const std::string& error() const { return error_; }
  uint64_t size() const { return size_; }
  // nullopt, with the reason.
  std::optional<PageFileHeader> header(std::string& reason) const;
  // The reason why not, or empty.
  std::string read_payload(const PageFileHeader& header, std::span<std::byte> payload) const;

 private:
  bool read(uint64_t offset, std::span<std::byte> bytes) const;

  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::string error_;
};

}  // namespace qwin
