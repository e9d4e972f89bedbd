// SPDX-License-Identifier: Apache-2.0
// The model hub's HTTP interface: where it is, which files a repository has, which of them make up a model.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/fetch.h"
#include "hub/model_name.h"

namespace qwin {

struct HubEndpoint {
  std::string address;  // "https://host[:port][/path]", no '/' at the end
  std::string token;    // from HF_TOKEN; may be empty
};

// HF_ENDPOINT when set, else the public hub. Throws Error(invalid_argument) when HF_ENDPOINT is no http(s) address.
HubEndpoint hub_endpoint();

struct HubFile {
  std::string path;  // in the repository, '/' between folders
  uint64_t bytes = 0;
  std::string sha256;       // large files
  std::string git_blob_id;  // small ones
};

std::string resolve_url(const HubEndpoint& endpoint, std::string_view repository, std::string_view revision,
                        std::string_view file);

// Every file of the repository at the revision. Throws Error(network).
std::vector<HubFile> list_hub_files(const HubEndpoint& endpoint, const ModelName& name, const FetchOptions& options);

// Parses one page of the listing; entries that are no files are skipped, unsafe paths refused with Error(path).
std::vector<HubFile> parse_hub_files(std::string_view json);

// The files to fetch for `name`: the file it gives (with all its split parts), else the Q4_K_M GGUF, else config,
// tokenizer and safetensors. Throws Error(invalid_argument) listing the choices when that is not clear.
std::vector<HubFile> choose_hub_files(const std::vector<HubFile>& files, const ModelName& name);

}  // namespace qwin
