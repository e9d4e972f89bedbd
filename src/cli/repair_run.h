// SPDX-License-Identifier: Apache-2.0
// `qwin quantize --repair`: the Python tool qwin.repair teaches what was quantized.
#pragma once

#include <string>

namespace qwin {

// Throws Error(invalid_argument), saying what to install, where `python` has no qwin.repair or no torch.
void check_repair(const std::string& python);

// Runs `python -m qwin.repair SOURCE FILE OUT`, which speaks to stderr, and goes on where it was when an earlier run
// with the same names was stopped. Throws Error(cancelled) on Ctrl-C, Error(io) when it fails.
void run_repair(const std::string& python, const std::string& source, const std::string& file, const std::string& out);

}  // namespace qwin
