// SPDX-License-Identifier: Apache-2.0
// What a checkpoint holds: named tensors, each a typed and shaped range of a file.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "core/dtype.h"
#include "io/file_span.h"

namespace qwin {

struct TensorInfo {
  std::string name;             // as the file has it
  DType dtype = DType::f32;
  std::vector<uint64_t> shape;  // outermost first: a linear layer is [out_features, in_features]
  FileSpan data;                // exactly shape product / block_elements * block_bytes bytes

  uint64_t num_elements() const {
    uint64_t n = 1;
    for (uint64_t d : shape) n *= d;
    return n;
  }
};

class TensorTable {
 public:
  // Throws Error(bad_shape) when the name is already there.
  void add(TensorInfo tensor);
  // nullptr when there is none of that name.
  const TensorInfo* find(const std::string& name) const;
  const std::vector<TensorInfo>& tensors() const { return tensors_; }

 private:
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace qwin
