// SPDX-License-Identifier: Apache-2.0
// The models on this machine: $QWIN_HOME/models, one folder a model. Partial files there are never models.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hub/model_name.h"

namespace qwin {

// $QWIN_HOME, default ~/.cache/qwin.
std::filesystem::path store_home();
std::filesystem::path model_folder(const ModelName& name);
// The lock every change of a model's folder is made under.
std::filesystem::path model_lock_path(const ModelName& name);

struct LocalModel {
  std::string name;  // as resolve_model and remove_model take it
  std::string path;  // a GGUF file (the first of split ones) or a directory
  uint64_t bytes = 0;
  std::string format;  // "gguf" or "safetensors"
};

// Every whole model in the store, by name.
std::vector<LocalModel> list_models();

// The path of a MODEL argument: an existing path as it is, else the local model of that name.
// Throws Error(invalid_argument) telling what to pull or what there is, Error(path) for a name that leaves the store.
std::string resolve_model(const std::string& model);

// Deletes a model with its partial files. Throws Error(invalid_argument) when there is none of that name.
void remove_model(const std::string& name);

}  // namespace qwin
