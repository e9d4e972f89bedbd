// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_table.h"

#include <utility>

#include "core/checked.h"
#include "core/printable.h"
#include "qwin/error.h"

namespace qwin {

uint64_t tensor_bytes(const std::string& name, DType dtype, const std::vector<uint64_t>& shape) {
  const std::string label = "tensor " + printable(name);
  uint64_t elements = 1;
  for (uint64_t extent : shape) {
    if (extent == 0) throw Error(ErrorCode::bad_shape, label + " has an empty dimension");
    elements = checked_mul(elements, extent, label.c_str());
  }
  const DTypeInfo& type = dtype_info(dtype);
  const uint64_t row = shape.empty() ? 1 : shape.back();
  if (row % type.block_elements != 0) {
    throw Error(ErrorCode::bad_shape, label + " has rows of " + std::to_string(row) + ", not a multiple of the " +
                                          std::to_string(type.block_elements) + " elements of a " +
                                          std::string(type.name) + " block");
  }
  return checked_mul(elements / type.block_elements, type.block_bytes, label.c_str());
}

void TensorTable::add(TensorInfo tensor) {
  if (tensors_.size() >= kMaxTensors) {
    throw Error(ErrorCode::too_large, "more than " + std::to_string(kMaxTensors) + " tensors");
  }
  if (!index_.emplace(tensor.name, tensors_.size()).second) {
    throw Error(ErrorCode::bad_shape, "tensor " + printable(tensor.name) + " is there twice");
  }
  tensors_.push_back(std::move(tensor));
}

const TensorInfo* TensorTable::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace qwin
