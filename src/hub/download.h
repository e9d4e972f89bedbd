// SPDX-License-Identifier: Apache-2.0
// One file over HTTP: parallel byte ranges, resume, checksum, atomic name. Nothing appears under the final name before
// every byte has been checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "hub/fetch.h"

namespace qwin {

struct DownloadRequest {
  std::string url;
  std::string token;             // sent to the host of `url` alone; may be empty
  std::filesystem::path target;  // its directory exists
  uint64_t bytes = 0;            // the promised size
  std::string sha256;            // the promised digest, lower-case hex …
  std::string git_blob_id;       // … or, when sha256 is empty, the content's name in git
};

// Returns the SHA-256. An interrupted call leaves `target`.partial and `target`.partial.json, and the next one goes on.
// Throws Error(network) when the server fails, Error(checksum) when the bytes are wrong (the partial file is deleted),
// Error(does_not_fit) when the disk is full, Error(cancelled) on Ctrl-C.
std::string download_file(const DownloadRequest& request, const FetchOptions& options,
                          const ProgressFunction& progress);

// Deletes what an interrupted download of `target` left.
void discard_partial(const std::filesystem::path& target);

}  // namespace qwin
