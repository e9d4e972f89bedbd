// SPDX-License-Identifier: Apache-2.0
// What a model's matrices are multiplied by: errors of a weight count as much as the activations it meets are large.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_files.h"

namespace qwin {

// By the tensor's name in the files: for each column the mean over tokens of x^2, each token's mean over columns taken
// as 1. So a token with massive activations, as Qwen2.5's first ones, has no more to say than any other.
using Importance = std::map<std::string, std::vector<float>>;

// Reads the text in pieces of 256 tokens, or as many as the model takes, in float32. Only matrices of layers are
// measured. Throws Error: invalid_argument for a text of less than a piece, does_not_fit, and what the model is refused
// for.
Importance measure_importance(const ModelFiles& files, std::string_view text, int num_threads,
                              const std::function<void(int64_t done, int64_t total)>& on_tokens);

}  // namespace qwin
