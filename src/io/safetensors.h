// SPDX-License-Identifier: Apache-2.0
// safetensors: one file, or shards named by model.safetensors.index.json. The checks are those of the reference's
// tensor.rs (checked arithmetic, no holes, no overlaps, the buffer covered exactly) with tighter limits on the header,
// which must be read in a bounded time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file_span.h"
#include "io/model_directory.h"
#include "io/tensor_table.h"

namespace qwin {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 16u << 20;  // of all shards together
inline constexpr uint64_t kMaxSafetensorsDims = 8;
inline constexpr uint64_t kMaxShards = 512;

struct SafetensorsFiles {
  std::vector<std::shared_ptr<const MappedFile>> files;
  TensorTable tensors;
};

// Reads model.safetensors, or every shard of model.safetensors.index.json.
SafetensorsFiles open_safetensors_directory(const ModelDirectory& directory);

// Adds the tensors of one mapped file to `table` and takes its header from `header_bytes_left`.
void read_safetensors(FileSpan file, const std::string& label, uint64_t& header_bytes_left, TensorTable& table);

}  // namespace qwin
