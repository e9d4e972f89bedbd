// SPDX-License-Identifier: Apache-2.0
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_256.h"
#include "kernels/x86/attention.h"
// clang-format on

namespace qwin {

void add_avx2_attention(CpuKernels& kernels) { fill_attention(kernels); }

}  // namespace qwin
