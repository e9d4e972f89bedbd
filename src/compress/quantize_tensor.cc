// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_tensor.h"

#include <algorithm>
#include <exception>
#include <mutex>

namespace qwin {
namespace {

constexpr size_t kRowGrain = 32;            // rows a thread takes at a time
constexpr uint64_t kStripBytes = 4u << 20;  // of the source, between two reports of progress

}  // namespace

// Strip by strip. Rows' sums are added in order, so that they do not depend on threads.
TensorQuantizer::Result TensorQuantizer::quantize(const TensorInfo& tensor, DType type,
                                                  const TensorCalibration& calibration, const OnRows& on_rows) {
  const size_t rows = tensor.shape[0];
  const size_t strip = std::max<size_t>(1, kStripBytes / (tensor.data.size() / rows));
  result_.resize(tensor_bytes(tensor.name, type, tensor.shape));
  squares_.resize(rows);
  Squares total;
  for (size_t first = 0; first < rows; first += strip) {
    const size_t last = std::min(first + strip, rows);
    quantize_strip(tensor, type, calibration, first, last);
    for (size_t row = first; row < last; ++row)
      total.error += squares_[row].error, total.weights += squares_[row].weights;
    if (on_rows) on_rows(last);
  }
  return {result_, total};
}

void TensorQuantizer::quantize_strip(const TensorInfo& tensor, DType type, const TensorCalibration& calibration,
                                     size_t first, size_t last) {
  std::mutex mutex;
  std::exception_ptr failure;
  team_.for_each(last - first, kRowGrain, [&](size_t begin, size_t end, int) {
    try {
      for (size_t at = first + begin; at < first + end; at += kRowGrain) {
        quantize_rows(tensor, type, group_size_, at, std::min(at + kRowGrain, first + end), calibration, kernels_,
                      result_.data(), squares_.data());
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace qwin
