// SPDX-License-Identifier: Apache-2.0
// config.json, and behind the first zero byte generation_config.json, as a safetensors directory has them.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/config.h"
#include "qwin/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t zero = text.find('\0');
  try {
    qwin::ModelFiles model;
    model.format = qwin::ModelFiles::Format::safetensors;
    model.path = "fuzz";
    model.config = qwin::parse_json(text.substr(0, zero), "config.json", qwin::ErrorCode::bad_config);
    if (!model.config.is_object()) return 0;
    if (zero != std::string_view::npos) {
      model.generation_config =
          qwin::parse_json(text.substr(zero + 1), "generation_config.json", qwin::ErrorCode::bad_config);
      if (!model.generation_config.is_object()) return 0;
    }
    qwin::check_tensors(qwin::read_model_config(model), model);
  } catch (const qwin::Error&) {
  }
  return 0;
}
