// SPDX-License-Identifier: Apache-2.0
// The kernels of the amx rung with the tile instructions written out in C++, as Intel's manual describes them: for
// tests on machines without the unit.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu_kernels.h"
#include "kernels/kernel_cases.h"

namespace qwin {
namespace {

struct Tile {
  int rows, row_bytes;
  alignas(64) uint8_t data[16][64];
};
thread_local Tile tiles[8];

void load_config(const void* config) {
  const auto* bytes = static_cast<const uint8_t*>(config);
  for (int i = 0; i < 8; ++i) {
    uint16_t row_bytes;
    memcpy(&row_bytes, bytes + 16 + 2 * i, 2);
    tiles[i].row_bytes = row_bytes;
    tiles[i].rows = bytes[48 + i];
    memset(tiles[i].data, 0, sizeof(tiles[i].data));
  }
}

// Without a configuration every tile instruction faults; here its rows are gone.
void release() {
  for (Tile& tile : tiles) tile.rows = tile.row_bytes = 0;
}

void zero(Tile& tile) { memset(tile.data, 0, sizeof(tile.data)); }

void load(Tile& tile, const void* from, size_t stride) {
  zero(tile);
  for (int r = 0; r < tile.rows; ++r)
    memcpy(tile.data[r], static_cast<const uint8_t*>(from) + size_t(r) * stride, size_t(tile.row_bytes));
}

void store(const Tile& tile, void* to, size_t stride) {
  for (int r = 0; r < tile.rows; ++r)
    memcpy(static_cast<uint8_t*>(to) + size_t(r) * stride, tile.data[r], size_t(tile.row_bytes));
}

// sums[m][n] += a[m][4k + i] (signed) * b[k][4n + i] (signed). A configuration whose shapes do not meet faults on the
// unit; here it leaves a sum no test expects.
void multiply_signed(Tile& sums, const Tile& a, const Tile& b) {
  const bool meet = a.rows == sums.rows && a.row_bytes == 4 * b.rows && b.row_bytes == sums.row_bytes;
  for (int m = 0; m < sums.rows; ++m) {
    for (int n = 0; n < sums.row_bytes / 4; ++n) {
      int32_t sum;
      memcpy(&sum, &sums.data[m][4 * n], 4);
      if (!meet) sum = INT32_MIN;
      for (int k = 0; meet && k < b.rows; ++k) {
        for (int i = 0; i < 4; ++i) sum += int8_t(a.data[m][4 * k + i]) * int8_t(b.data[k][4 * n + i]);
      }
      memcpy(&sums.data[m][4 * n], &sum, 4);
    }
  }
}

}  // namespace
}  // namespace qwin

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_loadconfig(config) load_config(config)
#define _tile_release() release()
#define _tile_zero(tile) zero(tiles[tile])
#define _tile_loadd(tile, from, stride) load(tiles[tile], from, stride)
#define _tile_stored(tile, to, stride) store(tiles[tile], to, stride)
#define _tile_dpbssd(sums, a, b) multiply_signed(tiles[sums], tiles[a], tiles[b])

#define QWIN_ISA_VNNI
#define QWIN_ISA_EMBEDDED_BROADCAST
#define QWIN_ISA_TILE_UNIT
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_512.h"
#include "kernels/x86/gemm_tiles.h"
// clang-format on

namespace qwin {

void add_emulated_amx(CpuKernels& kernels) { fill_gemm_tiles(kernels.gemm_tiles); }

}  // namespace qwin
