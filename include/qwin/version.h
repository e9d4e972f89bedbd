// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qwin {

// The release, "major.minor.patch"; CMake reads it from here.
inline constexpr const char* kVersion = "0.1.0";

}  // namespace qwin
