// SPDX-License-Identifier: Apache-2.0
// How commands tell a divergence.
#pragma once

#include "core/json.h"
#include "eval/divergence_sums.h"

namespace qwin {

Json divergence_json(const Divergence& divergence);
// One line on stdout.
void print_divergence(const char* label, const Divergence& divergence);

}  // namespace qwin
