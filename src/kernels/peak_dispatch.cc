// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_info.h"
#include "kernels/peak_kernels.h"

namespace qwin {

PeakKernels make_peak_kernels(CpuIsa max_isa) {
  PeakKernels kernels{};
  add_reference_peak(kernels);
  const CpuIsa isa = max_isa == CpuIsa::float32 ? detect_cpu_isa() : max_isa;
#if defined(__x86_64__)
  if (isa < CpuIsa::avx2) return kernels;
  add_avx2_peak(kernels);
  if (isa == CpuIsa::avx2_vnni) {
    add_avx2_vnni_peak(kernels);
    return kernels;
  }
  if (isa < CpuIsa::avx512) return kernels;
  add_avx512_peak(kernels);
  if (isa < CpuIsa::avx512_vnni) return kernels;
  add_avx512_vnni_peak(kernels);
  if (isa < CpuIsa::avx512_bf16) return kernels;
  add_avx512_bf16_peak(kernels);
  if (isa < CpuIsa::amx) return kernels;
  add_amx_peak(kernels);
#endif
  return kernels;
}

}  // namespace qwin
