// SPDX-License-Identifier: Apache-2.0
// The records of tests/testdata/quant/dequantize.bin, written by tools/make_quant_goldens.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace qwin {

struct Golden {
  DType type;
  std::vector<std::byte> bytes;
  std::vector<float> floats;
};

class GoldenReader {
 public:
  explicit GoldenReader(const std::string& name) {
    std::ifstream in(std::string(QWIN_TESTDATA) + "/quant/" + name, std::ios::binary);
    data_.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  bool at_end() const { return offset_ == data_.size(); }
  template <typename T>
  std::vector<T> read(size_t count) {
    if (count * sizeof(T) > data_.size() - offset_) throw std::runtime_error("golden file too short");
    std::vector<T> out(count);
    std::memcpy(out.data(), data_.data() + offset_, count * sizeof(T));
    offset_ += count * sizeof(T);
    return out;
  }

 private:
  std::vector<char> data_;
  size_t offset_ = 0;
};

inline DType dtype_of(const std::string& name) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (dtype_info(static_cast<DType>(i)).name == name) return static_cast<DType>(i);
  }
  throw std::runtime_error("golden file names an unknown type " + name);
}

inline std::vector<Golden> read_dequantize_goldens() {
  GoldenReader reader("dequantize.bin");
  std::vector<Golden> goldens;
  while (!reader.at_end()) {
    std::vector<char> name = reader.read<char>(8);
    name.push_back('\0');
    const std::vector<uint32_t> sizes = reader.read<uint32_t>(2);
    goldens.push_back({dtype_of(name.data()), reader.read<std::byte>(sizes[1]), reader.read<float>(sizes[0])});
  }
  return goldens;
}

// Index of the first float whose bits differ, or n.
inline size_t first_difference(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (std::memcmp(a + i, b + i, sizeof(float)) != 0) return i;
  }
  return n;
}

}  // namespace qwin
