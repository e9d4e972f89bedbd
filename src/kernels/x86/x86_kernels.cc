// SPDX-License-Identifier: Apache-2.0
// What each x86 rung adds to the table. This file is compiled for the base line: it only takes addresses.
#include "kernels/cpu_kernels.h"

namespace qwin {

void add_avx2_gemm(CpuKernels& kernels);
void add_avx2_elementwise(CpuKernels& kernels);
void add_avx2_attention(CpuKernels& kernels);
void add_avx2_vnni_gemm(CpuKernels& kernels);
void add_avx2_vnni_attention(CpuKernels& kernels);
void add_avx512_gemm(CpuKernels& kernels);
void add_avx512_elementwise(CpuKernels& kernels);
void add_avx512_attention(CpuKernels& kernels);
void add_avx512_vnni_gemm(CpuKernels& kernels);
void add_avx512_vnni_attention(CpuKernels& kernels);
void add_amx_gemm(CpuKernels& kernels);

void add_avx2_kernels(CpuKernels& kernels) {
  kernels.name = "avx2";
  add_avx2_gemm(kernels);
  add_avx2_elementwise(kernels);
  add_avx2_attention(kernels);
}

void add_avx2_vnni_kernels(CpuKernels& kernels) {
  kernels.name = "avx2_vnni";
  add_avx2_vnni_gemm(kernels);
  add_avx2_vnni_attention(kernels);
}

void add_avx512_kernels(CpuKernels& kernels) {
  kernels.name = "avx512";
  add_avx512_gemm(kernels);
  add_avx512_elementwise(kernels);
  add_avx512_attention(kernels);
}

void add_avx512_vnni_kernels(CpuKernels& kernels) {
  kernels.name = "avx512_vnni";
  add_avx512_vnni_gemm(kernels);
  add_avx512_vnni_attention(kernels);
}

void add_amx_kernels(CpuKernels& kernels) {
  kernels.name = "amx";
  add_amx_gemm(kernels);
}

}  // namespace qwin
