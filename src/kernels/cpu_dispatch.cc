// SPDX-License-Identifier: Apache-2.0
// The ladder, one visible rung after the other.
#include "core/cpu_info.h"
#include "kernels/cpu_kernels.h"

namespace qwin {

CpuKernels make_cpu_kernels(CpuIsa max_isa) {
  CpuKernels kernels{};
  add_reference_kernels(kernels);
  // float32 skips the integer kernels (ops/linear.cc), but its float work may use whatever the CPU has.
  const CpuIsa isa = max_isa == CpuIsa::float32 ? detect_cpu_isa() : max_isa;
#if defined(__x86_64__)
  if (isa < CpuIsa::avx2) return kernels;
  add_avx2_kernels(kernels);
  if (isa == CpuIsa::avx2_vnni) {
    add_avx2_vnni_kernels(kernels);
    return kernels;
  }
  if (isa < CpuIsa::avx512) return kernels;
  add_avx512_kernels(kernels);
  if (isa < CpuIsa::avx512_vnni) return kernels;
  add_avx512_vnni_kernels(kernels);
  if (isa < CpuIsa::amx) return kernels;
  add_amx_kernels(kernels);
#endif
  return kernels;
}

}  // namespace qwin
