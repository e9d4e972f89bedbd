// SPDX-License-Identifier: Apache-2.0
// Structs of include/qwin as the dictionaries and lists that qwin.outputs and qwin.Engine read.
#pragma once

#include <vector>

#include "bindings.h"
#include "qwin/engine.h"

namespace qwin::python {

nb::dict to_dict(const EngineInfo& info);
nb::dict to_dict(const EngineStats& stats);
nb::dict to_dict(const GenerationResult& result);
nb::dict to_dict(const AttentionPlan& plan);
// (token id, log-probability, [(token id, log-probability), ...])
nb::list to_list(const std::vector<TokenLogprobInfo>& logprobs);

}  // namespace qwin::python
