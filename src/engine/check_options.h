// SPDX-License-Identifier: Apache-2.0
// The ranges of what callers ask for, checked before anything is computed with it.
#pragma once

#include "qwin/engine.h"

namespace qwin {

// Throws Error(invalid_argument); the detail begins with the option's name, then the allowed range.
void check_options(const EngineOptions& options);
// The same for what a request says beside its prompt and its sampling.
void check_request(const Request& request);

}  // namespace qwin
