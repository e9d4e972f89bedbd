// SPDX-License-Identifier: Apache-2.0
// The tile peak: four 16x16 accumulators, which a kernel would feed from two tiles of weights and two of activations.
#include <immintrin.h>

#include "kernels/peak_kernels.h"

namespace qwin {
namespace {

constexpr int kTiles = 4, kTileMacs = 16 * 16 * 64;

// Tiles 0-3 accumulate, 4 and 5 are 16 rows of the operand, 6 and 7 its 16 rows of quads (pairs for bf16).
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

void begin(const void* operand) {
  const TileConfig config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, operand, 64);
  _tile_loadd(5, operand, 64);
  _tile_loadd(6, operand, 64);
  _tile_loadd(7, operand, 64);
}

// The 4 x 256 accumulators; releases the tiles.
template <typename T>
double end() {
  T sums[kTiles][256];
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  _tile_stored(2, sums[2], 64);
  _tile_stored(3, sums[3], 64);
  _tile_release();
  double sum = 0;
  for (const auto& tile : sums) {
    for (const T value : tile) sum += value;
  }
  return sum;
}

double peak_int8_amx(const void* operand, uint64_t loops) {
  begin(operand);
  for (uint64_t i = 0; i < loops; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  return end<int32_t>();
}

double peak_bf16_amx(const void* operand, uint64_t loops) {
  begin(operand);
  for (uint64_t i = 0; i < loops; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return end<float>();
}

}  // namespace

void add_amx_peak(PeakKernels& kernels) {
  kernels.int8 = {"tdpbusd", kTiles * kTileMacs, peak_int8_amx};
  kernels.bf16 = {"tdpbf16ps", kTiles * kTileMacs / 2, peak_bf16_amx};
}

}  // namespace qwin
