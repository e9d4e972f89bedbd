// SPDX-License-Identifier: Apache-2.0
// What a model's folder in the store was filled with: size and checksum of every file pulled, kept in pull.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace qwin {

inline constexpr const char* kManifestFile = "pull.json";

struct ManifestEntry {
  uint64_t bytes = 0;
  std::string sha256;
};

struct Manifest {
  std::map<std::string, ManifestEntry> files;  // by path inside the folder
  std::vector<std::string> selection;          // the files that the name without ":file" stands for

  // An absent or unreadable manifest is an empty one.
  static Manifest load(const std::filesystem::path& folder);
  void save(const std::filesystem::path& folder) const;
};

}  // namespace qwin
