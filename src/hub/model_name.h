// SPDX-License-Identifier: Apache-2.0
// What a user writes for a model, taken apart: a known name, a local folder, or [hf:]owner/name[@revision][:file].
// A ModelName never leads outside the store: every piece of it is checked here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/known_models.h"

namespace qwin {

struct ModelName {
  const KnownModel* known = nullptr;
  std::string owner;     // empty unless the model is on the hub
  std::string name;      // repository, known name or local folder
  std::string revision;  // "main" unless given
  std::string file;      // after ':', may hold '/'; empty when not given

  bool on_hub() const { return !owner.empty(); }
  std::string repository() const { return owner + "/" + name; }
  // The folder under models/: "owner--name", with "@revision" unless that is main.
  std::string folder() const;
  // The spelling that parses back to this name.
  std::string text() const;
};

// Throws Error(path) for a name that would leave the store, Error(invalid_argument) for any other bad spelling.
ModelName parse_model_name(std::string_view text);

// The name whose folder() this is; a folder that no pull makes gives its own name as a local one.
ModelName name_of_folder(std::string_view folder);

// True for a relative path of plain components: no "..", no root, no backslash, no control character.
bool is_safe_relative_path(std::string_view path);

// "x-00002-of-00003.gguf" gives all three names in order; any other file gives itself.
std::vector<std::string> split_file_names(const std::string& file);

}  // namespace qwin
