// SPDX-License-Identifier: Apache-2.0
#include "engine/capacity.h"

#include <algorithm>
#include <limits>
#include <string>

#include "engine/attention_plan.h"

namespace qwin {

namespace {

[[noreturn]] void refuse(const std::string& what, uint64_t needed, uint64_t available) {
  throw Error(ErrorCode::does_not_fit, what + " needs " + std::to_string(needed) + " bytes, " +
                                           std::to_string(available) +
                                           " are available; use a smaller model, free memory, or lower --ctx");
}

[[noreturn]] void refuse_disk(const std::string& what, uint64_t needed, uint64_t available) {
  throw Error(ErrorCode::does_not_fit, what + " needs " + std::to_string(needed) + " bytes of disk for K and V, " +
                                           std::to_string(available) +
                                           " may be used, four fifths of what is free; free some, or lower --ctx");
}

int64_t pages_for(int64_t tokens, int64_t page_size) { return (tokens + page_size - 1) / page_size; }

}  // namespace

int64_t window_pages(int64_t window, int64_t num_sinks, int64_t page_size, int64_t max_step_tokens) {
  return pages_for(num_sinks, page_size) + pages_for(window, page_size) + pages_for(max_step_tokens, page_size) + 1;
}

Capacity plan_capacity(const CapacityInput& input, const EngineOptions& options) {
  AttentionPlan plan = engine_plan(options);
  if (options.context_length > input.model_context_length && !plan.forgets()) {
    throw Error(ErrorCode::invalid_argument, "ctx " + std::to_string(options.context_length) +
                                                 " is beyond the model's own length of " +
                                                 std::to_string(input.model_context_length));
  }
  if (options.overflow_policy == OverflowPolicy::window) plan = overflow_plan(options, plan);
  const int64_t window = plan.forgets() ? plan.window : 0;
  const uint64_t fixed = input.weight_bytes + input.activation_bytes;
  const uint64_t available = input.memory.available_bytes;
  if (fixed + input.page_bytes > available) refuse("the model", fixed + input.page_bytes, available);

  const uint64_t budget = options.kv_memory_bytes > 0 ? options.kv_memory_bytes : (available - fixed) / 5 * 4;
  if (budget > available - fixed) refuse("the KV memory", budget, available - fixed);
  const uint64_t on_disk = input.disk_bytes / 5 * 4, room = std::max(budget, on_disk);
  const uint64_t max_pages = std::min<uint64_t>(room / input.page_bytes, std::numeric_limits<int32_t>::max());

  const int64_t wanted = options.context_length > 0 ? options.context_length : input.model_context_length;
  // One page more than the tokens need: the end of a cached text is copied before more is written to it.
  const auto wanted_pages = static_cast<uint64_t>(pages_for(wanted, input.page_size)) + 1;
  const uint64_t for_window =
      window == 0
          ? 0
          : static_cast<uint64_t>(window_pages(window, plan.num_sink_tokens, input.page_size, input.max_step_tokens));
  const uint64_t least_pages = std::max<uint64_t>(for_window, options.context_length > 0 ? wanted_pages : 2);
  if (least_pages > max_pages) {
    const int64_t tokens = window > 0 ? window : wanted;
    const std::string what = (window > 0 ? "a window of " : "a context of ") + std::to_string(tokens) + " tokens";
    if (on_disk > 0) refuse_disk(what, least_pages * input.page_bytes, room);
    refuse(what, fixed + least_pages * input.page_bytes, fixed + budget);
  }
  // A whole batch of the longest texts is as much as can be used at once; what they leave is for the prefix cache.
  const uint64_t most_pages = std::max(least_pages, wanted_pages * static_cast<uint64_t>(options.max_batch_size));
  const uint64_t pages = std::min(most_pages, max_pages);
  return {
      .context_length = std::min<int64_t>(wanted, static_cast<int64_t>(pages - 1) * input.page_size),
      .num_pages = static_cast<int32_t>(pages),
      .kv_memory_bytes = std::min(pages * input.page_bytes, budget),
      .kv_disk_bytes = pages * input.page_bytes > budget ? pages * input.page_bytes : 0,
  };
}

}  // namespace qwin
