// SPDX-License-Identifier: Apache-2.0
#include "hub/manifest.h"

#include "hub/files.h"
#include "hub/model_name.h"
#include "io/json.h"

namespace qwin {

Manifest Manifest::load(const std::filesystem::path& folder) {
  const std::string text = read_small_file(folder / kManifestFile, 1 << 20);
  if (text.empty()) return {};
  Manifest manifest;
  try {
    const Json json = parse_json(text, kManifestFile, ErrorCode::io);
    for (const auto& [path, entry] : json.at("files").items()) {
      if (!is_safe_relative_path(path)) return {};
      manifest.files[path] = {entry.at("bytes").get<uint64_t>(), entry.at("sha256").get<std::string>()};
    }
    manifest.selection = json.at("selection").get<std::vector<std::string>>();
    for (const std::string& path : manifest.selection) {
      if (!is_safe_relative_path(path)) return {};
    }
  } catch (const std::exception&) {
    return {};
  }
  return manifest;
}

void Manifest::save(const std::filesystem::path& folder) const {
  Json entries = Json::object();
  for (const auto& [path, entry] : files) entries[path] = {{"bytes", entry.bytes}, {"sha256", entry.sha256}};
  const Json json = {{"files", entries}, {"selection", selection}};
  write_file_atomically(folder / kManifestFile, json.dump(2));
}

}  // namespace qwin
