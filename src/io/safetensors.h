// SPDX-License-Identifier: Apache-2.0
// safetensors: one file, or shards named by model.safetensors.index.json. The checks are those of the reference's tensor.rs:
// header <= 100 MB, checked arithmetic, no holes, no overlaps, the buffer covered exactly.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file_span.h"
#include "io/tensor_table.h"

namespace qwin {

struct SafetensorsFiles {
  std::vector<std::shared_ptr<const MappedFile>> files;
  TensorTable tensors;
};

// Reads model.safetensors, or every shard of model.safetensors.index.json, of a directory.
SafetensorsFiles open_safetensors_directory(const std::string& directory);

// Adds the tensors of one mapped file to `table`.
void read_safetensors(FileSpan file, const std::string& label, TensorTable& table);

}  // namespace qwin
