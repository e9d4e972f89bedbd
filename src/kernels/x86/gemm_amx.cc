// SPDX-License-Identifier: Apache-2.0
#define QWIN_ISA_VNNI
#define QWIN_ISA_EMBEDDED_BROADCAST
#define QWIN_ISA_TILE_UNIT
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_512.h"
#include "kernels/x86/gemm_tiles.h"
// clang-format on

namespace qwin {

void add_amx_gemm(CpuKernels& kernels) { fill_gemm_tiles(kernels.gemm_tiles); }

}  // namespace qwin
