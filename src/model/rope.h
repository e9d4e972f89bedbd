// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding (arXiv 2104.09864), half-split: dimension i turns with dimension i + head_dim / 2.
// Frequencies and angles are rounded as transformers rounds them: float32 throughout.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace qwin {

struct RopeTable {
  std::vector<float> inv_freq;     // [head_dim / 2], radians a position
  float attention_scaling = 1.0f;  // multiplies cos and sin (YaRN)
};

RopeTable make_rope(const ModelConfig& config);

// cos and sin of every pair at `position`, times attention_scaling. Requires: position >= 0.
void fill_cos_sin(const RopeTable& rope, int64_t position,
                  float* cos,   // [head_dim / 2]
                  float* sin);  // [head_dim / 2]

}  // namespace qwin
