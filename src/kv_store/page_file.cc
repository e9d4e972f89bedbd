// SPDX-License-Identifier: Apache-2.0
#include "kv_store/page_file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "core/check.h"
#include "ops/attention.h"

namespace qwin {

static_assert(std::endian::native == std::endian::little, "page files are little-endian");

namespace {

constexpr char kMagic[] = "qwinpage";
constexpr uint32_t kVersion = 1;
constexpr std::string_view kExtension = ".page";
constexpr size_t kFixedBytes = 88;

struct FixedHeader {
  char magic[8];
  uint32_t version;
  uint32_t num_tokens;
  uint64_t payload_bytes;
  PageDigest parent, payload_digest;
};
static_assert(sizeof(FixedHeader) == kFixedBytes);

bool write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

// A rename is on disk when its directory is.
bool sync_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool synced = ::fsync(descriptor) == 0;
  ::close(descriptor);
  return synced;
}

}  // namespace

PageDigest sha256(std::span<const std::byte> bytes) {
  PageDigest digest{};
  QWIN_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

std::string page_file_name(const PageDigest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string name;
  for (const uint8_t byte : digest) {
    name += kDigits[byte >> 4];
    name += kDigits[byte & 15];
  }
  return name += kExtension;
}

std::optional<PageDigest> page_file_digest(std::string_view name) {
  PageDigest digest{};
  if (name.size() != 2 * digest.size() + kExtension.size() || !name.ends_with(kExtension)) return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i) {
    const auto value = [&](char c) {
      return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    const int high = value(name[2 * i]), low = value(name[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return digest;
}

uint64_t page_file_size(size_t num_tokens, size_t payload_bytes) {
  return kFixedBytes + sizeof(int32_t) * num_tokens + payload_bytes;
}

bool write_page_file(const std::filesystem::path& directory, const PageDigest& digest, const PageFileHeader& header,
                     std::span<const std::byte> payload) {
  FixedHeader fixed{.magic = {},
                    .version = kVersion,
                    .num_tokens = static_cast<uint32_t>(header.tokens.size()),
                    .payload_bytes = payload.size(),
                    .parent = header.parent,
                    .payload_digest = sha256(payload)};
  std::memcpy(fixed.magic, kMagic, sizeof(fixed.magic));
  const std::filesystem::path path = directory / page_file_name(digest);
  // Two processes may write the same page: each to a file of its own, and either result will do.
  const std::filesystem::path part = path.string() + "." + std::to_string(::getpid()) + std::string(kPageFilePart);
  const int descriptor = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return false;
  const bool written = write_all(descriptor, std::as_bytes(std::span(&fixed, 1))) &&
                       write_all(descriptor, std::as_bytes(std::span(header.tokens))) &&
                       write_all(descriptor, payload) && ::fsync(descriptor) == 0;
  const bool closed = ::close(descriptor) == 0;
  if (written && closed && ::rename(part.c_str(), path.c_str()) == 0) return sync_directory(directory);
  ::unlink(part.c_str());
  return false;
}

PageFile::PageFile(const std::filesystem::path& path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  struct stat status{};
  if (descriptor_ < 0) {
    error_ = "missing";
  } else if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    error_ = "io";
  } else {
    size_ = static_cast<uint64_t>(status.st_size);
  }
}

PageFile::~PageFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool PageFile::read(uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return true;
}

std::optional<PageFileHeader> PageFile::header(std::string& reason) const {
  FixedHeader fixed{};
  if (size_ < kFixedBytes) {
    reason = "size";
  } else if (!read(0, std::as_writable_bytes(std::span(&fixed, 1)))) {
    reason = "io";
  } else if (std::memcmp(fixed.magic, kMagic, sizeof(fixed.magic)) != 0 || fixed.version != kVersion ||
             fixed.num_tokens == 0 || fixed.num_tokens > kPageSize) {
    reason = "header";
  } else if (fixed.payload_bytes > size_ || page_file_size(fixed.num_tokens, fixed.payload_bytes) != size_) {
    reason = "size";
  }
  if (!reason.empty()) return std::nullopt;
  PageFileHeader header{
      .parent = fixed.parent, .tokens = std::vector<int32_t>(fixed.num_tokens), .payload_digest = fixed.payload_digest};
  if (read(kFixedBytes, std::as_writable_bytes(std::span(header.tokens)))) return header;
  reason = "io";
  return std::nullopt;
}

std::string PageFile::read_payload(const PageFileHeader& header, std::span<std::byte> payload) const {
  if (page_file_size(header.tokens.size(), payload.size()) != size_) return "size";
  if (!read(size_ - payload.size(), payload)) return "io";
  return sha256(payload) == header.payload_digest ? "" : "payload";
}

}  // namespace qwin
