// SPDX-License-Identifier: Apache-2.0
#include "compress/measure_plan.h"

#include <algorithm>

#include "compress/quantize_tensor.h"
#include "compress/sensitivity.h"
#include "quant/dequantize.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr DType kTypes[] = {DType::q4, DType::q3, DType::q5, DType::q6, DType::q8};  // the first is measured

constexpr size_t kResidualParts[] = {64, 32, 16, 8, 4};  // one row in so many may have a residual

// Factors of channels are taken back: the matrices before and behind this one are those of the model as it is.
double loss_of(Sensitivity& sensitivity, const TensorInfo& tensor, DType type, std::span<const std::byte> blocks,
               const TensorCalibration& known) {
  const size_t rows = tensor.shape[0], columns = tensor.shape[1];
  if (known.factors == nullptr) return sensitivity.loss(tensor.name, {blocks.data(), type, rows, columns});
  ChannelFactors back = *known.factors;
  for (float& factor : back.rows) factor = 1 / factor;
  for (float& factor : back.columns) factor = 1 / factor;
  std::vector<float> weights(rows * columns);
  dequantize(type, blocks.data(), weights.size(), weights.data());
  for (size_t row = 0; row < rows; ++row) apply_factors(&back, row, {&weights[row * columns], columns});
  return sensitivity.loss(tensor.name, {reinterpret_cast<const std::byte*>(weights.data()), DType::f32, rows, columns});
}

double relative_error(const Squares& squares) { return squares.weights > 0 ? squares.error / squares.weights : 0; }

}  // namespace

Plan measure_plan(const ModelFiles& source, size_t group_size, Calibration* calibration, std::string_view text,
                  ThreadTeam& team, const QuantizeProgress& progress) {
  Sensitivity sensitivity(source, text, team.size());
  TensorQuantizer quantizer(team, group_size);
  std::vector<const TensorInfo*> tensors = tensors_by_layer(source);
  std::erase_if(tensors, [](const TensorInfo* tensor) { return !is_quantizable(*tensor); });
  uint64_t done = 0, total = 0;
  for (const TensorInfo* tensor : tensors) total += sensitivity.cost(tensor->name);

  Plan plan{.group_size = group_size, .items = {}};
  for (const TensorInfo* tensor : tensors) {
    const TensorCalibration known = calibration == nullptr ? TensorCalibration{} : calibration->of(tensor->name);
    PlanItem item{.tensor = tensor->name, .options = {}};
    double loss_by_error = 0;
    for (const DType type : kTypes) {
      const auto [blocks, squares] = quantizer.quantize(*tensor, type, known);
      const double error = relative_error(squares);
      if (type == kTypes[0] && error > 0) loss_by_error = loss_of(sensitivity, *tensor, type, blocks, known) / error;
      item.options.push_back({type, blocks.size(), loss_by_error * error});
    }
    std::ranges::sort(item.options, {}, &PlanOption::bytes);
    plan.items.push_back(std::move(item));
    done += sensitivity.cost(tensor->name);
    if (progress) progress(done, total);
  }
  return plan;
}

void offer_residuals(Plan& plan, const ModelFiles& source, const VocabularyUse& use) {
  for (PlanItem& item : plan.items) {
    const TensorInfo* tensor = source.tensors.find(item.tensor);
    if (tensor == nullptr || !is_vocabulary(*tensor)) continue;
    const DType chosen = item.choice().type;
    std::erase_if(item.options, [](const PlanOption& option) { return option.residual_rows > 0; });
    item.chosen =
        static_cast<size_t>(std::ranges::find(item.options, chosen, &PlanOption::type) - item.options.begin());
    for (const PlanOption& option : std::vector(item.options)) {
      if (option.type != DType::q3 && option.type != DType::q4) continue;
      for (const size_t part : kResidualParts) {
        const size_t rows = rows_of_part(*tensor, part);
        if (rows == 0) continue;
        item.options.push_back({.type = option.type,
                                .bytes = option.bytes + residual_bytes(*tensor, rows),
                                .loss = option.loss * (1 - use.expected_share(rows)),
                                .residual_rows = rows});
      }
    }
  }
}

void check_plan(const Plan& plan, const ModelFiles& source) {
  const auto refuse = [](const std::string& name) {
    throw Error(ErrorCode::invalid_argument, "the plan is for another model: it does not fit the tensor " + name);
  };
  size_t found = 0;
  for (const TensorInfo& tensor : source.tensors.tensors()) {
    if (!is_quantizable(tensor)) continue;
    const auto item = std::ranges::find(plan.items, tensor.name, &PlanItem::tensor);
    if (item == plan.items.end()) refuse(tensor.name);
    for (const PlanOption& option : item->options) {
      const uint64_t bytes =
          tensor_bytes(tensor.name, option.type, tensor.shape) + residual_bytes(tensor, option.residual_rows);
      if (option.bytes != bytes || option.residual_rows > tensor.shape[0]) refuse(tensor.name);
      if (option.residual_rows > 0 && !is_vocabulary(tensor)) refuse(tensor.name);
    }
    ++found;
  }
  if (found != plan.items.size()) throw Error(ErrorCode::invalid_argument, "the plan is for another model");
}

}  // namespace qwin
