// SPDX-License-Identifier: Apache-2.0
// A GGUF file from memory: structure, then config, then tensors, then values, as `qwin check` goes.
#include <cstddef>
#include <cstdint>

#include "io/gguf.h"
#include "model/check_values.h"
#include "model/config.h"
#include "qwin/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    qwin::GgufFile file = qwin::read_gguf(qwin::FileSpan::of_memory(data, size));
    for (const qwin::TensorInfo& tensor : file.tensors.tensors()) {
      qwin::find_non_finite(tensor.dtype, tensor.data.data(), tensor.data.size());
    }
    qwin::ModelFiles model;
    model.format = qwin::ModelFiles::Format::gguf;
    model.path = "fuzz.gguf";
    model.tensors = std::move(file.tensors);
    model.gguf = std::move(file.metadata);
    qwin::check_tensors(qwin::read_model_config(model), model);
  } catch (const qwin::Error&) {
  }
  return 0;
}
