// SPDX-License-Identifier: Apache-2.0
// Which channels of K a checkpoint makes large in every token: where numbers share 8 bits they need more.
#pragma once

#include <vector>

#include "model/config.h"
#include "ops/attention.h"

namespace qwin {

// [num_layers]. Qwen2.5's k_proj biases reach hundreds where the rest of K is of order 1; Qwen3's k_norm weights do the
// like. Requires: check_tensors() passed.
std::vector<WideKeyChannels> wide_key_channels(const ModelConfig& config, const ModelFiles& files);

}  // namespace qwin
