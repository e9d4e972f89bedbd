// SPDX-License-Identifier: Apache-2.0
// How much of its attention each KV head loses under a plan, measured on a text that the model reads exactly.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "io/model_files.h"
#include "model/head_ranks.h"

namespace qwin {

struct HeadCalibrationOptions {
  int num_threads = 1;
  int64_t num_tokens = 8192;  // of the text, at most the model's own context
  // Half the pieces that an engine finds: heads differ more where memory is scarce, and such a text is long enough.
  int64_t window = 1024, num_sink_tokens = 64, memory_top_k = 128;
};

// Every query from the middle of the text on counts, a head by the mean over its query heads. Throws Error:
// invalid_argument for a text that is too short or an option out of range, cancelled when `on_tokens` throws it, and
// what the model is refused for.
HeadMeasurement calibrate_heads(const ModelFiles& files, const ModelConfig& config, std::string_view text,
                                const HeadCalibrationOptions& options,
                                const std::function<void(int64_t done, int64_t total)>& on_tokens);

}  // namespace qwin
