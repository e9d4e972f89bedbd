// SPDX-License-Identifier: Apache-2.0
// Random matrices in every stored type, as a checkpoint would hold them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "core/half.h"
#include "ops/packed_weight.h"
#include "quant/block_formats.h"
#include "quant/dequantize.h"

namespace qwin {

inline constexpr DType kAllDTypes[kNumDTypes] = {DType::f32,  DType::f16,  DType::bf16, DType::q4_0,   DType::q4_1,
                                                 DType::q5_0, DType::q5_1, DType::q8_0, DType::q2_k,   DType::q3_k,
                                                 DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl, DType::iq4_xs,
                                                 DType::q4,   DType::q6,   DType::q8,   DType::q3,     DType::q5};

inline std::vector<size_t> half_offsets(DType dtype) {
  switch (dtype) {
    case DType::q4_1: return {offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m)};
    case DType::q5_1: return {offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m)};
    case DType::q2_k: return {offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin)};
    case DType::q3_k: return {offsetof(BlockQ3_K, d)};
    case DType::q4_k: return {offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin)};
    case DType::q5_k: return {offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin)};
    case DType::q6_k: return {offsetof(BlockQ6_K, d)};
    default: return {0};  // the flat types begin with d
  }
}

// Every code and sub-scale that the type can express; scales around 0.01 of both signs.
struct StoredBlocks {
  StoredBlocks(std::mt19937_64& random, DType dtype, size_t rows, size_t columns) {
    stored = {nullptr, dtype, rows, columns};
    bytes.resize(rows * stored.row_bytes());
    const DTypeInfo& info = dtype_info(dtype);
    std::normal_distribution<float> normal;
    for (size_t at = 0; at < bytes.size(); at += info.block_bytes) {
      if (info.block_elements == 1) {
        put_float(dtype, normal(random), &bytes[at]);
        continue;
      }
      for (size_t i = 0; i < info.block_bytes; ++i) bytes[at + i] = static_cast<std::byte>(random());
      if (has_head(dtype)) {
        put_head(0.001f * std::fabs(normal(random)), static_cast<uint32_t>(random()), &bytes[at]);
        continue;
      }
      for (const size_t offset : half_offsets(dtype)) {
        const uint16_t half = float_to_half(0.01f * normal(random));
        std::memcpy(&bytes[at + offset], &half, 2);
      }
    }
    stored.data = bytes.data();
  }
  StoredBlocks(const StoredBlocks&) = delete;

  std::vector<float> row(size_t i) const {
    std::vector<float> floats(stored.columns);
    dequantize(stored.dtype, stored.data + i * stored.row_bytes(), stored.columns, floats.data());
    return floats;
  }

  // The scale and the sub-scales of a span block.
  static void put_head(float scale, uint32_t subs, std::byte* to) {
    const uint32_t head = static_cast<uint32_t>(float_to_half(scale / kHeadUnit)) >> 3 << 20 | (subs & 0xfffff);
    std::memcpy(to, &head, 4);
  }

  static void put_float(DType dtype, float value, std::byte* to) {
    if (dtype == DType::f32) std::memcpy(to, &value, 4);
    const uint16_t half =
        dtype == DType::f16 ? float_to_half(value) : static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    if (dtype != DType::f32) std::memcpy(to, &half, 2);
  }

  std::vector<std::byte> bytes;
  StoredMatrix stored;
};

inline std::vector<float> random_values(std::mt19937_64& random, size_t count) {
  std::vector<float> values(count);
  std::normal_distribution<float> normal;
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace qwin
