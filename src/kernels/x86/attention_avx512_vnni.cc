// SPDX-License-Identifier: Apache-2.0
#define QWIN_ISA_VNNI
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_512.h"
#include "kernels/x86/attention_q8.h"
#include "kernels/x86/memory.h"
// clang-format on

namespace qwin {

// K and V in float32 and binary16 gain nothing from dot products of bytes: they stay with avx512.
void add_avx512_vnni_attention(CpuKernels& kernels) {
  kernels.attention[int(KvType::q8)] = attention<Q8Attention>;
  kernels.choose_memory = choose_memory;
}

}  // namespace qwin
