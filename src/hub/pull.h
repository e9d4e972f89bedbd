// SPDX-License-Identifier: Apache-2.0
// `qwin pull`: from a name to a checked model on disk, whatever source has it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "hub/fetch.h"

namespace qwin {

struct PullOptions {
  FetchOptions fetch;
  bool verify = false;                             // hash what is already there
  ProgressFunction progress;                       // may be empty
  std::function<void(const std::string&)> notice;  // one line for the user; may be empty
};

struct PullResult {
  std::string name;
  std::string path;
  uint64_t bytes = 0;
  std::string sha256;  // of the file; of several files: the SHA-256 of what `sha256sum` prints for them, sorted by path
};

// Throws Error(network) listing why every source failed; see download_file for the rest.
PullResult pull_model(const std::string& name, const PullOptions& options);

}  // namespace qwin
