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

uint64_t pages_for(int64_t tokens, const CapacityInput& input) {
  const auto page_size = static_cast<uint64_t>(input.page_size);
  return (static_cast<uint64_t>(tokens) + page_size - 1) / page_size;
}

// Pages with which a windowed conversation never ends: the sinks, the window and a step's tokens are held together, and
// neither end of the window falls on a page's border.
uint64_t window_pages(const CapacityInput& input, const EngineOptions& options) {
  if (options.window == 0) return 0;
  return pages_for(options.num_sink_tokens, input) + pages_for(options.window, input) +
         pages_for(input.max_step_tokens, input) + 1;
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
  if (budget > available - fixed) refuse("the KV memory", budget, available - fixed);
  const uint64_t max_pages = std::min<uint64_t>(budget / input.page_bytes, std::numeric_limits<int32_t>::max());

  const int64_t wanted = options.context_length > 0 ? options.context_length : input.model_context_length;
  // One page more than the tokens need: with a window, a page is given back only when its last token has left.
  const uint64_t wanted_pages = pages_for(wanted, input) + 1;
  const uint64_t least_pages = std::max(window_pages(input, options), options.context_length > 0 ? wanted_pages : 2);
  if (least_pages > max_pages) {
    const int64_t tokens = options.window > 0 ? options.window : wanted;
    refuse((options.window > 0 ? "a window of " : "a context of ") + std::to_string(tokens) + " tokens",
           fixed + least_pages * input.page_bytes, fixed + budget);
  }
  const uint64_t pages = std::min(std::max(wanted_pages, least_pages), max_pages);
  return {
      .context_length = std::min<int64_t>(wanted, static_cast<int64_t>(pages - 1) * input.page_size),
      .num_pages = static_cast<int32_t>(pages),
      .kv_memory_bytes = pages * input.page_bytes,
  };
}

}  // namespace qwin
