// SPDX-License-Identifier: Apache-2.0
// The models qwin knows by a short name, with their checksum and every place they can be fetched from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qwin {

struct KnownModel {
  std::string_view name;        // "qwen2.5-coder-0.5b", also the folder under models/
  std::string_view file;        // file name in the hub repository and on disk
  std::string_view repository;  // "owner/name" on the hub
  uint64_t bytes;
  std::string_view sha256;
  // The same file cut into Python packages `part_prefix`1 … `part_prefix`N, each holding one data file.
  std::string_view part_prefix;
  std::string_view part_version;
  int num_parts;
};

std::span<const KnownModel> known_models();

// Case-insensitive; "-instruct" and "-q4_k_m" may follow the name. Null when unknown.
const KnownModel* find_known_model(std::string_view name);

std::string ascii_lower(std::string_view text);

}  // namespace qwin
