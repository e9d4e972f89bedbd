// SPDX-License-Identifier: Apache-2.0
#include "hub/model_store.h"

#include <algorithm>
#include <cstdlib>

#include "hub/download.h"
#include "hub/files.h"
#include "hub/manifest.h"
#include "qwin/error.h"

namespace qwin {
namespace fs = std::filesystem;

namespace {

constexpr int kMaxFolderDepth = 3;
constexpr size_t kMaxNamesShown = 20;

// A model found in a folder; `file` is empty for the folder itself.
struct FoundModel {
  std::string file;
  uint64_t bytes = 0;
};

uint64_t size_of(const fs::path& path) {
  std::error_code error;
  const uint64_t bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  return error ? 0 : bytes;
}

void add_gguf(const fs::path& folder, const std::string& file, std::vector<FoundModel>& found) {
  FoundModel model{file, 0};
  const std::vector<std::string> parts = split_file_names(file);
  if (parts[0] != file) return;
  for (const std::string& part : parts) {
    const uint64_t bytes = size_of(folder / part);
    if (bytes == 0) return;  // a part is still missing
    model.bytes += bytes;
  }
  found.push_back(model);
}

// A directory model's config.json arrives last, so that its presence means the rest is there.
void add_directory(const fs::path& folder, std::vector<FoundModel>& found) {
  if (size_of(folder / "config.json") == 0) return;
  FoundModel model;
  bool has_weights = false;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename();
    if (name == kManifestFile || name.find(".partial") != std::string::npos) continue;
    has_weights |= name.ends_with(".safetensors");
    model.bytes += size_of(it->path());
  }
  if (has_weights) found.push_back(model);
}

std::vector<FoundModel> models_in(const fs::path& folder) {
  std::vector<FoundModel> found;
  std::error_code error;
  if (!fs::is_directory(folder, error)) return found;
  add_directory(folder, found);
  for (auto it = fs::recursive_directory_iterator(folder, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    if (it.depth() >= kMaxFolderDepth) it.disable_recursion_pending();
    const std::string file = it->path().lexically_relative(folder).string();
    if (ascii_lower(file).ends_with(".gguf") && is_safe_relative_path(file)) add_gguf(folder, file, found);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.file < b.file; });
  return found;
}

bool selected_by_folder_name(const FoundModel& model, const std::vector<FoundModel>& all, const Manifest& manifest) {
  if (all.size() == 1 || model.file.empty()) return true;
  return !manifest.selection.empty() && manifest.selection[0] == model.file;
}

std::vector<LocalModel> local_models_in(const fs::path& folder, const ModelName& folder_name) {
  const std::vector<FoundModel> found = models_in(folder);
  const Manifest manifest = Manifest::load(folder);
  std::vector<LocalModel> models;
  for (const FoundModel& model : found) {
    ModelName name = folder_name;
    if (!selected_by_folder_name(model, found, manifest)) name.file = model.file;
    models.push_back({name.text(), model.file.empty() ? folder.string() : (folder / model.file).string(), model.bytes,
                      model.file.empty() ? "safetensors" : "gguf"});
  }
  return models;
}

// True for words a user means as a path rather than as a name.
bool looks_like_path(const std::string& text) {
  return text.starts_with('/') || text.starts_with("./") || text.starts_with('~') ||
         (ascii_lower(text).ends_with(".gguf") && text.find(':') == std::string::npos);
}

std::string known_names_text() {
  std::string text = "; `qwin pull NAME` knows";
  for (const KnownModel& model : known_models()) text += " " + std::string(model.name);
  return text + " and owner/name on the hub";
}

[[noreturn]] void throw_not_local(const ModelName& name) {
  if (name.known || name.on_hub()) {
    throw Error(ErrorCode::invalid_argument,
                "'" + name.text() + "' is not on this machine; get it with: qwin pull " + name.text());
  }
  std::string text = "no file, directory or local model '" + name.text() + "'; local models:";
  const std::vector<LocalModel> models = list_models();
  for (size_t i = 0; i < models.size() && i < kMaxNamesShown; ++i) text += " " + models[i].name;
  if (models.empty()) text += " none";
  throw Error(ErrorCode::invalid_argument, text + known_names_text());
}

// Deletes one model of a folder that holds others; true when something was there.
bool remove_file(const fs::path& folder, const std::string& file) {
  Manifest manifest = Manifest::load(folder);
  bool removed = false;
  for (const std::string& part : split_file_names(file)) {
    std::error_code error;
    removed |= fs::exists(folder / (part + ".partial"), error);
    removed |= fs::is_regular_file(folder / part, error) && fs::remove(folder / part, error);
    discard_partial(folder / part);
    manifest.files.erase(part);
    if (std::erase(manifest.selection, part) > 0) manifest.selection.clear();
  }
  if (removed) manifest.save(folder);
  return removed;
}

}  // namespace

fs::path store_home() {
  if (const char* home = std::getenv("QWIN_HOME"); home && *home) return fs::absolute(home).lexically_normal();
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "qwin";
  throw Error(ErrorCode::invalid_argument, "neither QWIN_HOME nor HOME is set: no place for models");
}

fs::path model_folder(const ModelName& name) { return store_home() / "models" / name.folder(); }

fs::path model_lock_path(const ModelName& name) { return store_home() / "locks" / (name.folder() + ".lock"); }

std::vector<LocalModel> list_models() {
  std::vector<LocalModel> models;
  std::error_code error;
  for (auto it = fs::directory_iterator(store_home() / "models", error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    std::error_code not_directory;
    if (!it->is_directory(not_directory)) continue;
    for (LocalModel& model : local_models_in(it->path(), name_of_folder(it->path().filename().string()))) {
      models.push_back(std::move(model));
    }
  }
  std::sort(models.begin(), models.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return models;
}

std::string resolve_model(const std::string& model) {
  std::error_code error;
  if (!model.empty() && fs::exists(model, error)) return model;
  if (looks_like_path(model)) throw Error(ErrorCode::io, "no such file or directory: " + model);
  const ModelName name = parse_model_name(model);
  const fs::path folder = model_folder(name);
  ModelName wanted = name;
  if (!name.file.empty()) wanted.file = split_file_names(name.file)[0];
  const std::vector<LocalModel> models = local_models_in(folder, name_of_folder(name.folder()));
  for (const LocalModel& local : models) {
    if (local.name == wanted.text()) return local.path;
    if (!wanted.file.empty() && local.path == (folder / wanted.file).string()) return local.path;
  }
  if (models.empty() || !name.file.empty()) throw_not_local(name);
  std::string text = "'" + model + "' has several local models; choose one:";
  for (const LocalModel& local : models) text += " " + local.name;
  throw Error(ErrorCode::invalid_argument, text);
}

void remove_model(const std::string& text) {
  const ModelName name = parse_model_name(text);
  const fs::path folder = model_folder(name);
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw Error(ErrorCode::invalid_argument, "no local model '" + name.text() + "'; `qwin list` shows what there is");
  }
  FileLock lock;
  if (!lock.try_lock(model_lock_path(name))) {
    throw Error(ErrorCode::invalid_argument, "'" + name.text() + "' is just being pulled; stop that first");
  }
  if (name.file.empty()) {
    if (fs::remove_all(folder, error); error) throw_file_error("remove", folder, error.value());
    return;
  }
  if (!remove_file(folder, name.file)) {
    throw Error(ErrorCode::invalid_argument, "no local model '" + name.text() + "'; `qwin list` shows what there is");
  }
  if (models_in(folder).empty()) fs::remove_all(folder, error);
}

}  // namespace qwin
