// SPDX-License-Identifier: Apache-2.0
#include "engine/capacity.h"

#include <algorithm>
#include <limits>
#include <string>

namespace qwin {

namespace {

[[noreturn]] void refuse(const std::string& what, uint64_t needed, uint64_t available) {
  throw Error(ErrorCode::does_not_fit, what + " needs " + std::to_string(needed) + " bytes, " +
                                           std::to_string(available) +
                                           " are available; use a smaller model, free memory, or lower --ctx");
}

}  // namespace

Capacity plan_capacity(const CapacityInput& input, const EngineOptions& options) {
  if (options.context_length > input.model_context_length && options.window == 0) {
    throw Error(ErrorCode::invalid_argument, "ctx " + std::to_string(options.context_length) +
                                                 " is beyond the model's own length of " +
                                                 std::to_string(input.model_context_length));
  }
  const uint64_t fixed = input.weight_bytes + input.activation_bytes;
  const uint64_t available = input.memory.available_bytes;
  if (fixed + input.page_bytes > available) refuse("the model", fixed + input.page_bytes, available);

  const uint64_t budget = options.kv_memory_bytes > 0 ? options.kv_memory_bytes : (available - fixed) / 5 * 4;
  if (fixed + budget > available) refuse("the model with its KV memory", fixed + budget, available);
  const uint64_t max_pages = std::min<uint64_t>(budget / input.page_bytes, std::numeric_limits<int32_t>::max());

  const int64_t wanted = options.context_length > 0 ? options.context_length : input.model_context_length;
  // One page more than the tokens need: with a window, a page is given back only when its last token has left.
  const uint64_t wanted_pages = static_cast<uint64_t>((wanted + input.page_size - 1) / input.page_size) + 1;
  if (wanted_pages > max_pages && (options.context_length > 0 || max_pages < 2)) {
    refuse("a context of " + std::to_string(wanted) + " tokens", fixed + wanted_pages * input.page_bytes,
           fixed + budget);
  }
  const uint64_t pages = std::min(wanted_pages, max_pages);
  return {
      .context_length = std::min<int64_t>(wanted, static_cast<int64_t>(pages - 1) * input.page_size),
      .num_pages = static_cast<int32_t>(pages),
      .kv_memory_bytes = pages * input.page_bytes,
  };
}

}  // namespace qwin
