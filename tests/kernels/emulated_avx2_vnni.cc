// SPDX-License-Identifier: Apache-2.0
// The kernels of the avx2_vnni rung with AVX-512's encoding of its dot products: for tests on machines that lack the
// short one.
#include <immintrin.h>

#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#define _mm256_dpwssd_avx_epi32 _mm256_dpwssd_epi32
#define QWIN_ISA_VNNI
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_256.h"
#include "kernels/x86/gemm_tiles.h"
#include "kernels/x86/attention_q8.h"
#include "kernels/x86/memory.h"
#include "kernels/kernel_cases.h"
// clang-format on

namespace qwin {

void add_emulated_avx2_vnni(CpuKernels& kernels) {
  fill_gemm_tiles(kernels.gemm_tiles);
  kernels.attention[int(KvType::q8)] = attention<Q8Attention>;
  kernels.choose_memory = choose_memory;
}

}  // namespace qwin
