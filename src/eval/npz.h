// SPDX-License-Identifier: Apache-2.0
// NumPy's .npz archives, as far as golden files need them: zip of .npy arrays, C order, little-endian.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace qwin {

struct NpyArray {
  std::string dtype;  // "<i4", "<f4", "<f8", …
  std::vector<size_t> shape;
  std::vector<std::byte> bytes;

  size_t size() const;
  // Elements as double, whatever the stored numeric type. Throws Error(bad_type) for others.
  std::vector<double> numbers() const;
};

// Throws Error: io, bad_magic, bad_type, bad_shape.
std::map<std::string, NpyArray> read_npz(const std::string& path);

}  // namespace qwin
