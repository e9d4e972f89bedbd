// SPDX-License-Identifier: Apache-2.0
// How much a step must do at least: multiply-adds of linear layers and bytes read. Attention's own arithmetic, norms
// and what kernels do beside these counts lower the share of the limit that a run reaches.
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace qwin {

// Of one model as it lies in memory.
struct ModelWork {
  uint64_t block_macs = 0;  // a token: every linear layer but the head
  uint64_t head_macs = 0;   // a row of logits
  uint64_t block_bytes = 0;
  uint64_t head_bytes = 0;
  uint64_t kv_bytes = 0;  // K and V of one token, all layers
};

struct Work {
  double macs = 0;
  double bytes = 0;

  Work& operator+=(const Work& other) {
    macs += other.macs;
    bytes += other.bytes;
    return *this;
  }
};

ModelWork model_work(const ModelConfig& config, const ModelFiles& files, WeightForm form, uint64_t kv_token_bytes);

// Keys a token at `position` sees. window 0: all.
int64_t visible_keys(int64_t position, int64_t window, int64_t num_sinks);

// One step: `tokens` tokens of one or more sequences, which read `keys` tokens of K and V in all; logits of `rows`.
Work step_work(const ModelWork& model, int64_t tokens, int64_t rows, int64_t keys);

}  // namespace qwin
