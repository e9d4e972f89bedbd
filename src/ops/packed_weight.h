// SPDX-License-Identifier: Apache-2.0
// A weight matrix in the form the kernels read: repacked tiles of integers, or (for the float32 oracle) the file's own
// rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/thread_team.h"
#include "kernels/packed_layout.h"

namespace qwin {

// A matrix as a checkpoint stores it: rows of blocks, one after the other.
struct StoredMatrix {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;
  size_t rows = 0;     // output features
  size_t columns = 0;  // input features

  size_t row_bytes() const { return qwin::row_bytes(dtype, columns); }
};

// Views memory owned elsewhere (the model's weight arena, or the mapped file).
struct PackedWeight {
  StoredMatrix stored;
  PackedFormat format = PackedFormat::q8_0;
  const std::byte* tiles = nullptr;  // nullptr: not packed, only float32 work can use it
  size_t tile_bytes = 0;
  size_t num_tiles = 0;
  int num_spans = 0;
};

// The type a matrix is packed as when nothing else is asked for: its own, or Q8_0 for F32, F16 and BF16.
DType packed_type(DType stored);

// Bytes pack_weight() will write, a multiple of 64. `type` has codes; another one than the stored one is Q8_0, Q4, Q6
// or Q8, and the last three need a multiple of 128 columns.
size_t packed_weight_bytes(const StoredMatrix& stored, DType type);

// Repacks `stored` as `type` into `destination` (zeroed, 64-byte aligned), row by row; without loss where the type is
// the stored one. Throws Error(non_finite) when weights do not quantize.
PackedWeight pack_weight(ThreadTeam& team, const StoredMatrix& stored, DType type, std::byte* destination);

}  // namespace qwin
