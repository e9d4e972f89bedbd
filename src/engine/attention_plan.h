// SPDX-License-Identifier: Apache-2.0
// How a request's tokens see each other: what it asks for, on top of what the engine was loaded with.
#pragma once

#include "kv_cache/prefix_cache.h"
#include "qwin/engine.h"

namespace qwin {

// Both throw Error(invalid_argument) for what contradicts itself or is out of range.
AttentionPlan engine_plan(const EngineOptions& options);
AttentionPlan request_plan(const EngineOptions& options, const Request& request, std::vector<TokenSpan> global_spans);

// The plan of a prompt that does not fit the context, under OverflowPolicy::window.
AttentionPlan overflow_plan(const EngineOptions& options, const AttentionPlan& asked);

CachePlan cache_plan(const AttentionPlan& plan, const std::string& salt);

}  // namespace qwin
