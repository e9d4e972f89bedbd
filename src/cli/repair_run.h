// SPDX-License-Identifier: Apache-2.0
// `qwin quantize --repair`: hands what was written to the Python tool qwin.repair.
#pragma once

#include <string>

namespace qwin {

// Throws Error(invalid_argument), saying what to install, where `python` has no qwin.repair or no torch.
void check_repair(const std::string& python);

// Becomes `python -m qwin.repair SOURCE FILE FILE`, which repairs the file in its place, speaks to stderr and can be
// stopped and started again. Returns never, or throws Error(io).
[[noreturn]] void start_repair(const std::string& python, const std::string& source, const std::string& file);

}  // namespace qwin
