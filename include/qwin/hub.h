// SPDX-License-Identifier: Apache-2.0
// Models by name: what is in the local store, and fetching what is not.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace qwin {

// The path of a model: `model` itself when it is one, else that of the pulled model of this name. Throws Error(path)
// saying what is there and how to pull.
std::string find_model(const std::string& model);

// Fetches a model into the store, or finds it there, and returns its path. Throws Error: invalid_argument for an
// unknown name, network, checksum, io.
std::string pull(const std::string& name, const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace qwin
