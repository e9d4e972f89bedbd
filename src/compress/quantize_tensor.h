// SPDX-License-Identifier: Apache-2.0
// A stored matrix to one of qwin's own types, by all threads.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "compress/quantize_rows.h"
#include "io/model_files.h"

namespace qwin {

class TensorQuantizer {
 public:
  struct Result {
    std::span<const std::byte> bytes;  // until the next call
    Squares squares;
  };
  // Called with the rows that are done; may throw to stop.
  using OnRows = std::function<void(size_t rows)>;

  TensorQuantizer(ThreadTeam& team, size_t group_size)
      : team_(team), group_size_(group_size), kernels_(make_cpu_kernels(CpuIsa::float32)) {}

  // With calibration what rounding a column loses is fed forward. The result does not depend on threads. Throws
  // Error(non_finite). Requires: a matrix with rows of a multiple of 128 columns.
  Result quantize(const TensorInfo& tensor, DType type, const TensorCalibration& calibration,
                  const OnRows& on_rows = {});

 private:
  void quantize_strip(const TensorInfo& tensor, DType type, const TensorCalibration& calibration, size_t first,
                      size_t last);

  ThreadTeam& team_;
  const size_t group_size_;
  const CpuKernels kernels_;
  std::vector<std::byte> result_;
  std::vector<Squares> squares_;  // of every row
};

}  // namespace qwin
