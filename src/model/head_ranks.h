// SPDX-License-Identifier: Apache-2.0
// Which KV heads need most of a long text, as `qwin calibrate-heads` measured it: a small file beside the model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"

namespace qwin {

// `path` of a model: "MODEL.gguf.heads.json", or "qwin_heads.json" in its folder.
std::string heads_file(const std::string& path);

struct HeadMeasurement {
  int64_t window = 0, num_sink_tokens = 0, memory_top_k = 0;  // the plan under which it was lost
  int64_t num_tokens = 0;                                     // of the text
  std::vector<double> lost;  // [num_layers, num_kv_heads] share of a head's attention that the plan leaves out
};

// Throws Error(io).
void write_heads(const std::string& file, const ModelConfig& config, const HeadMeasurement& heads);

// [num_layers, num_kv_heads] the place of each head, 0 for the one that loses most; nothing when there is no file.
// Throws Error(bad_config) for a file that is none or belongs to another model.
std::optional<std::vector<int32_t>> read_head_ranks(const std::string& file, const ModelConfig& config);

}  // namespace qwin
