// SPDX-License-Identifier: Apache-2.0
// Writes safetensors bytes for tests: the header is a string, so that it can be wrong in any way.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace qwin::testing {

inline std::string safetensors_bytes(const std::string& header, const std::string& data, int64_t length_error = 0) {
  uint64_t length = header.size() + static_cast<uint64_t>(length_error);
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

// One entry of a header: "name":{"dtype":..,"shape":..,"data_offsets":[begin,end]}
inline std::string safetensors_entry(const std::string& name, const std::string& dtype, const std::string& shape,
                                     uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// A valid file of float32 vectors of one element.
inline std::string safetensors_of(const std::vector<std::pair<std::string, std::string>>& tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}", data;
  for (const auto& [name, bytes] : tensors) {
    header += "," + safetensors_entry(name, "F32", "[1]", data.size(), data.size() + 4);
    data += bytes;
  }
  return safetensors_bytes(header + "}", data);
}

}  // namespace qwin::testing
