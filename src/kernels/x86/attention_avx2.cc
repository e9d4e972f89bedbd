// SPDX-License-Identifier: Apache-2.0
// clang-format off: the vector type comes first, the kernels are written over it
#include "kernels/x86/isa_256.h"
#include "kernels/x86/attention_float.h"
#include "kernels/x86/attention_q8.h"
#include "kernels/x86/memory.h"
#include "kernels/x86/store_kv.h"
// clang-format on

namespace qwin {

void add_avx2_attention(CpuKernels& kernels) {
  kernels.store_kv[int(KvType::f32)] = store_numbers<KvType::f32>;
  kernels.store_kv[int(KvType::f16)] = store_numbers<KvType::f16>;
  kernels.store_kv[int(KvType::q8)] = store_q8;
  kernels.attention[int(KvType::f32)] = attention<FloatAttention<KvType::f32>>;
  kernels.attention[int(KvType::f16)] = attention<FloatAttention<KvType::f16>>;
  kernels.attention[int(KvType::q8)] = attention<Q8Attention>;
  kernels.merge_partials = merge_partials;
  kernels.choose_memory = choose_memory;
}

}  // namespace qwin
