// SPDX-License-Identifier: Apache-2.0
// The sampling parameters by name, as /set shows and changes them.
#pragma once

#include <string>

#include "qwin/sampling_params.h"

namespace qwin {

// One "name value" a line.
std::string settings_text(const SamplingParams& params);

// Sets the parameter to `value`, or to what `defaults` holds when `value` is "default". "top-p" is "top_p" too.
// Throws Error(invalid_argument) naming what is wrong; `params` is then as before.
void change_setting(SamplingParams& params, const SamplingParams& defaults, std::string name, const std::string& value);

}  // namespace qwin
