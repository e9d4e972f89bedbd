// SPDX-License-Identifier: Apache-2.0
// A safetensors file from memory; every tensor it accepts is read to the last byte.
#include <cstddef>
#include <cstdint>

#include "io/safetensors.h"
#include "model/check_values.h"
#include "qwin/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    qwin::TensorTable table;
    uint64_t header_bytes_left = qwin::kMaxSafetensorsHeaderBytes;
    qwin::read_safetensors(qwin::FileSpan::of_memory(data, size), "fuzz.safetensors", header_bytes_left, table);
    for (const qwin::TensorInfo& tensor : table.tensors()) {
      qwin::find_non_finite(tensor.dtype, tensor.data.data(), tensor.data.size());
    }
  } catch (const qwin::Error&) {
  }
  return 0;
}
