// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "core/cpu_info.h"
#include "kernels/kernel_cases.h"

namespace qwin {

namespace {

void expect_complete(const CpuKernels& kernels) {
  for (const GemmTilesFn kernel : kernels.gemm_tiles) EXPECT_NE(kernel, nullptr);
  for (const StoreKvFn kernel : kernels.store_kv) EXPECT_NE(kernel, nullptr);
  for (const AttentionFn kernel : kernels.attention) EXPECT_NE(kernel, nullptr);
  EXPECT_NE(kernels.merge_partials, nullptr);
  EXPECT_NE(kernels.quantize_row, nullptr);
  EXPECT_NE(kernels.rms_norm, nullptr);
  EXPECT_NE(kernels.rope, nullptr);
  EXPECT_NE(kernels.silu_mul, nullptr);
  EXPECT_NE(kernels.gemm_f32, nullptr);
}

TEST(CpuDispatchTest, EveryRungIsCompleteAndCarriesItsName) {
  for (const CpuIsa isa : runnable_rungs()) {
    const CpuKernels kernels = make_cpu_kernels(isa);
    EXPECT_EQ(kernels.name, cpu_isa_name(isa));
    expect_complete(kernels);
  }
}

TEST(CpuDispatchTest, ARungWithoutKernelsOfItsOwnUsesThoseBelow) {
  if (detect_cpu_isa() < CpuIsa::avx512_vnni) GTEST_SKIP() << "this CPU has no avx512_vnni";
  EXPECT_STREQ(make_cpu_kernels(CpuIsa::avx512_bf16).name, "avx512_vnni");
}

TEST(CpuDispatchTest, ReferenceSharesNoKernelWithAFastRung) {
  const CpuKernels reference = make_cpu_kernels(CpuIsa::reference);
  for (const CpuIsa isa : runnable_rungs()) {
    if (isa == CpuIsa::reference) continue;
    const CpuKernels kernels = make_cpu_kernels(isa);
    for (int i = 0; i < kNumPackedFormats; ++i) EXPECT_NE(kernels.gemm_tiles[i], reference.gemm_tiles[i]);
    EXPECT_NE(kernels.quantize_row, reference.quantize_row);
    for (int i = 0; i < kNumKvTypes; ++i) EXPECT_NE(kernels.attention[i], reference.attention[i]);
    EXPECT_NE(kernels.merge_partials, reference.merge_partials);
  }
}

TEST(PackedLayoutTest, EveryVectorOfCodesHasOnePlace) {
  for (const NamedFormat& named : kPackedFormats) {
    const PackedLayout layout = packed_layout(named.format);
    EXPECT_EQ(layout.span_offset(0) % 64, 0u) << named.name;
    EXPECT_EQ(layout.codes_offset() % 64, 0u) << named.name;
    EXPECT_EQ(layout.block_bytes() % 64, 0u) << named.name;
    if (layout.code == CodeKind::u8) continue;
    std::set<int> places;
    for (int pair = 0; pair < kQuadsPerSpan / 2; ++pair) places.insert(layout.nibbles_at(pair));
    const int planes = layout.code == CodeKind::u6 ? 8 : layout.code == CodeKind::u5 ? 4 : 0;
    for (int i = 0; i < planes; ++i) places.insert(layout.plane_at(i));
    EXPECT_EQ(places.size() * kVectorBytes, layout.code_bytes()) << named.name;
    EXPECT_EQ((static_cast<size_t>(*places.rbegin()) + 1) * kVectorBytes, layout.code_bytes()) << named.name;
  }
}

}  // namespace

}  // namespace qwin
