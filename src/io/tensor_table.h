// SPDX-License-Identifier: Apache-2.0
// What a checkpoint holds: named tensors, each a typed and shaped range of a file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "io/file_span.h"

namespace qwin {

// No dense model comes near; more would only serve to make reading slow.
inline constexpr uint64_t kMaxTensors = 65536;
inline constexpr uint64_t kMaxNameBytes = 256;

struct TensorInfo {
  std::string name;  // as the file has it
  DType dtype = DType::f32;
  std::vector<uint64_t> shape;  // outermost first: a linear layer is [out_features, in_features]
  FileSpan data;                // exactly shape product / block_elements * block_bytes bytes; may be unaligned

  uint64_t num_elements() const {
    uint64_t n = 1;
    for (uint64_t d : shape) n *= d;
    return n;
  }
};

// The bytes of a tensor of this shape, outermost first. Throws Error: bad_shape for an empty dimension or a row that is
// not a whole number of blocks, overflow when a product wraps.
uint64_t tensor_bytes(const std::string& name, DType dtype, const std::vector<uint64_t>& shape);

// The order of names is a tree's, not a hash's: no file can make look-ups slow.
class TensorTable {
 public:
  // Throws Error(bad_shape) when the name is already there, Error(too_large) beyond kMaxTensors.
  void add(TensorInfo tensor);
  // nullptr when there is none of that name.
  const TensorInfo* find(const std::string& name) const;
  const std::vector<TensorInfo>& tensors() const { return tensors_; }

 private:
  std::vector<TensorInfo> tensors_;
  std::map<std::string, size_t> index_;
};

}  // namespace qwin
