// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace qwin {

// The rungs of the kernel ladder, each including the ones before it, save avx2_vnni, which AVX-512 CPUs may lack.
// `float32` is no rung but the mathematics itself.
enum class CpuIsa : uint8_t { float32, reference, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16, amx };

}  // namespace qwin
