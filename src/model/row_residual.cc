// SPDX-License-Identifier: Apache-2.0
#include "model/row_residual.h"

#include "core/printable.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr std::string_view kWeight = ".weight", kResidual = ".residual.weight";

std::vector<int32_t> read_rows(const std::string& key, const GgufValue& value, uint64_t num_rows) {
  const auto refuse = [&](const char* why) { throw Error(ErrorCode::bad_config, printable(key) + " " + why); };
  if (value.type != GgufType::array || value.element_type != GgufType::u32) refuse("must be an array of u32");
  std::vector<int32_t> rows;
  rows.reserve(value.count);
  SpanReader reader(value.elements);
  for (uint64_t i = 0; i < value.count; ++i) {
    const auto row = reader.read<uint32_t>("residual row");
    if (row >= num_rows) refuse("names a row that the matrix does not have");
    if (!rows.empty() && static_cast<int32_t>(row) <= rows.back()) refuse("must ascend");
    rows.push_back(static_cast<int32_t>(row));
  }
  return rows;
}

}  // namespace

std::string residual_tensor_name(const std::string& tensor) {
  const size_t stem = tensor.ends_with(kWeight) ? tensor.size() - kWeight.size() : tensor.size();
  return tensor.substr(0, stem) + std::string(kResidual);
}

uint64_t num_parameters(const TensorTable& tensors) {
  uint64_t sum = 0;
  for (const TensorInfo& tensor : tensors.tensors())
    sum += tensor.name.ends_with(kResidual) ? 0 : tensor.num_elements();
  return sum;
}

std::string residual_rows_key(const std::string& tensor) { return "qwin.residual_rows." + tensor; }

std::optional<RowResidual> find_row_residual(const ModelFiles& files, const TensorInfo& matrix) {
  const std::string name = residual_tensor_name(matrix.name), key = residual_rows_key(matrix.name);
  const TensorInfo* tensor = files.tensors.find(name);
  const GgufValue* value = files.gguf.find(key);
  if (tensor == nullptr && value == nullptr) return std::nullopt;
  if (tensor == nullptr) throw Error(ErrorCode::missing_tensor, printable(name) + " is not in the file");
  if (value == nullptr) {
    throw Error(ErrorCode::missing_tensor, printable(name) + " is there, but " + printable(key) + " is not");
  }
  auto rows = std::make_shared<const std::vector<int32_t>>(read_rows(key, *value, matrix.shape[0]));
  if (tensor->shape.size() != 2 || tensor->shape[0] != rows->size() || tensor->shape[1] != matrix.shape[1]) {
    throw Error(ErrorCode::bad_shape, printable(name) + " must have " + std::to_string(rows->size()) + " rows of " +
                                          std::to_string(matrix.shape[1]) + " columns");
  }
  return RowResidual{tensor, std::move(rows)};
}

}  // namespace qwin
