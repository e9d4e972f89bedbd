// SPDX-License-Identifier: Apache-2.0
// How much context fits: the arithmetic of memory, done before anything large is allocated.
#pragma once

#include <cstdint>

#include "core/cpu_info.h"
#include "qwin/engine.h"
#include "runner/runner.h"

namespace qwin {

struct CapacityInput {
  MemoryInfo memory;
  uint64_t weight_bytes = 0;
  uint64_t activation_bytes = 0;
  uint64_t page_bytes = 0;
  int64_t page_size = 0;
  int64_t max_step_tokens = kMaxBatchTokens;
  int64_t model_context_length = 0;
  uint64_t disk_bytes = 0;  // free where K and V may go that are too many for the memory; 0: nowhere
};

struct Capacity {
  int64_t context_length = 0;
  int32_t num_pages = 0;
  uint64_t kv_memory_bytes = 0;  // num_pages * page_bytes, or what of them may be in memory
  uint64_t kv_disk_bytes = 0;    // num_pages * page_bytes when they lie on the disk
};

// Pages with which a windowed sequence never ends: the sinks, the window and a step's tokens are held together, and
// neither end of the window falls on a page's border.
int64_t window_pages(int64_t window, int64_t num_sinks, int64_t page_size, int64_t max_step_tokens);

// Throws Error(does_not_fit) with the needed and the available bytes, Error(invalid_argument) for a context_length
// beyond the model's.
Capacity plan_capacity(const CapacityInput& input, const EngineOptions& options);

}  // namespace qwin
