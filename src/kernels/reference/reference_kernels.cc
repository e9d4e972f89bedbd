// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu_kernels.h"

namespace qwin {

void add_reference_gemm(CpuKernels& kernels);
void add_reference_quantize(CpuKernels& kernels);
void add_reference_elementwise(CpuKernels& kernels);
void add_reference_attention(CpuKernels& kernels);
void add_reference_memory(CpuKernels& kernels);

void add_reference_kernels(CpuKernels& kernels) {
  kernels.name = "reference";
  add_reference_gemm(kernels);
  add_reference_quantize(kernels);
  add_reference_elementwise(kernels);
  add_reference_attention(kernels);
  add_reference_memory(kernels);
}

}  // namespace qwin
