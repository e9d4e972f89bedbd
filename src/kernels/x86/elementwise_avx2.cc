// SPDX-License-Identifier: Apache-2.0
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_256.h"
#include "kernels/x86/elementwise.h"
// clang-format on

namespace qwin {

void add_avx2_elementwise(CpuKernels& kernels) { fill_elementwise(kernels); }

}  // namespace qwin
