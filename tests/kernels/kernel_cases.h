// SPDX-License-Identifier: Apache-2.0
// What the kernel tests and `kernel_check --bench` share: the rungs this CPU can run, seeded data, and the arguments of
// the integer GEMM.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/guarded_array.h"

namespace qwin {

using Random = std::mt19937_64;

// Every rung that this CPU runs, reference first.
std::vector<CpuIsa> runnable_rungs();

// Those and the ones whose instructions this CPU lacks but can stand in for: what a test of results climbs.
std::vector<CpuIsa> tested_rungs();
CpuKernels make_tested_kernels(CpuIsa isa);

// Kernels of rungs over stand-ins of their instructions.
void add_emulated_avx2_vnni(CpuKernels& kernels);
void add_emulated_amx(CpuKernels& kernels);

struct NamedFormat {
  const char* name;
  PackedFormat format;
};
inline void PrintTo(const NamedFormat& format, std::ostream* out) { *out << format.name; }
inline constexpr NamedFormat kPackedFormats[kNumPackedFormats] = {
    {"q4_0", PackedFormat::q4_0}, {"q4_1", PackedFormat::q4_1},     {"q5_0", PackedFormat::q5_0},
    {"q5_1", PackedFormat::q5_1}, {"q8_0", PackedFormat::q8_0},     {"q2_k", PackedFormat::q2_k},
    {"q3_k", PackedFormat::q3_k}, {"q4_k", PackedFormat::q4_k},     {"q5_k", PackedFormat::q5_k},
    {"q6_k", PackedFormat::q6_k}, {"iq4_nl", PackedFormat::iq4_nl}, {"iq4_xs", PackedFormat::iq4_xs},
    {"q4", PackedFormat::q4},     {"q5", PackedFormat::q5},         {"q6", PackedFormat::q6},
    {"q8", PackedFormat::q8},
};

inline constexpr KvType kKvTypes[kNumKvTypes] = {KvType::f32, KvType::f16, KvType::q8};
inline const char* kv_type_name(KvType type) {
  return type == KvType::f32 ? "f32" : type == KvType::f16 ? "f16" : "q8";
}

// The name of a test of a rung and a KV type.
std::string rung_and_kv_type(const testing::TestParamInfo<std::tuple<CpuIsa, KvType>>& info);

GuardedArray<float> random_floats(Random& random, size_t count, float scale = 1.0f);

// Activation rows as the quantizer could make them, or at the limits of what QuantizedRows can hold.
enum class RowPattern {
  random,       // any code, up to three extra outliers in some spans
  all_plus,     // every 16 codes add up to the most there can be
  all_minus,    // the same below zero
  alternating,  // the largest codes, in turn of either sign; three extra outliers a span
  zero,
  extreme_scales,  // random codes; scales from the smallest denormal to 1e30
};
inline constexpr RowPattern kRowPatterns[] = {RowPattern::random,    RowPattern::all_plus,
                                              RowPattern::all_minus, RowPattern::alternating,
                                              RowPattern::zero,      RowPattern::extreme_scales};

struct QuantizedInput {
  QuantizedInput(int num_tokens, int num_spans);
  QuantizedRows rows(int first_token = 0) const;
  double value(int token, int k) const;  // scale * code, or the outlier
  int extra_count(int token, int span) const;
  int code(int token, int k) const;
  float scale(int token, int span) const { return scales[span * token_stride + static_cast<size_t>(token)]; }

  int num_tokens, num_spans;
  size_t token_stride;
  GuardedArray<int8_t> codes;
  GuardedArray<float> scales;
  GuardedArray<int16_t> sums;
  GuardedArray<Outlier> outliers;
  GuardedArray<uint8_t> extra_counts;
  GuardedArray<Outlier> extras;
};
QuantizedInput make_input(Random& random, int num_tokens, int num_spans, RowPattern pattern);

enum class WeightPattern { random, max_codes, min_codes, denormal_scales };
inline constexpr WeightPattern kWeightPatterns[] = {WeightPattern::random, WeightPattern::max_codes,
                                                    WeightPattern::min_codes, WeightPattern::denormal_scales};

// Tiles of bytes that need not come from a file: every code, sub-scale and min that the layout can express.
GuardedArray<uint8_t> make_tiles(Random& random, PackedFormat format, int num_rows, int num_spans,
                                 WeightPattern pattern);

size_t tile_bytes_of(PackedFormat format, int num_spans);

// GemmArgs.zero_sums and min_sums as their contract says.
struct GroupSums {
  GroupSums(const QuantizedInput& input, PackedFormat format);
  GuardedArray<int32_t> zero_sums;
  GuardedArray<int16_t> min_sums;
};

}  // namespace qwin
