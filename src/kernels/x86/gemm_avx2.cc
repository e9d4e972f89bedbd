// SPDX-License-Identifier: Apache-2.0
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_256.h"
#include "kernels/x86/gemm_tiles.h"
// clang-format on

namespace qwin {

void add_avx2_gemm(CpuKernels& kernels) { fill_gemm_tiles(kernels.gemm_tiles); }

}  // namespace qwin
