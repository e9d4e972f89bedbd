// SPDX-License-Identifier: Apache-2.0
// The specification of the integer GEMM: which integers are summed, and in which order the few float operations come.
// Inside a span everything is exact integer arithmetic (any order gives the same sum); float work is one fused
// multiply-add a group (flat) or a span (nested), in order of columns.
#include <cmath>

#include "core/half.h"
#include "kernels/cpu_kernels.h"

namespace qwin {

namespace {

// The code of one weight. `codes` points at the span's codes; k is 0 … 127.
int code_at(CodeKind kind, const uint8_t* codes, int row, int k) {
  const int quad = k / 4, byte = 4 * row + k % 4;
  if (kind == CodeKind::u8) return codes[quad * kVectorBytes + byte];
  const int low = codes[quad / 2 * kVectorBytes + byte] >> (quad % 2 * 4) & 15;
  const uint8_t* upper = codes + 1024;
  switch (kind) {
    case CodeKind::lut4: return kLut4[low];
    case CodeKind::u5: return low | (upper[quad / 8 * kVectorBytes + byte] >> (quad % 8) & 1) << 4;
    case CodeKind::u6: return low | (upper[quad / 4 * kVectorBytes + byte] >> (quad % 4 * 2) & 3) << 4;
    default: return low;
  }
}

float half_at(const uint8_t* p, int index) {
  return half_to_float(static_cast<uint16_t>(p[2 * index] | p[2 * index + 1] << 8));
}

// Everything of one row, one token and one span.
struct SpanSums {
  int32_t low[8];  // per group: sum of (code - zero) * low digit, zero also times the high digit
  int32_t sum[8];  // per group: sum of the activation codes, high digit included
  int32_t high;    // code * high digit of the outlier
  int high_group;
};

SpanSums span_sums(const PackedLayout& layout, const uint8_t* codes, int row, const QuantizedRows& x, int span) {
  SpanSums s{};
  for (int k = 0; k < kSpan; ++k) {
    const int g = k / layout.group();
    s.low[g] += code_at(layout.code, codes, row, k) * x.codes[span * kSpan + k];
  }
  for (int g = 0; g < layout.groups_per_span(); ++g) {
    for (int i = 0; i < layout.group() / 16; ++i) s.sum[g] += x.sums[span * 8 + g * layout.group() / 16 + i];
    s.low[g] -= layout.zero * s.sum[g];
  }
  const int quad = x.outlier_quads[span];
  for (int byte = 0; byte < 4; ++byte) {
    const int8_t high = static_cast<int8_t>(static_cast<uint32_t>(x.outliers[span]) >> (8 * byte));
    s.high += code_at(layout.code, codes, row, quad * 4 + byte) * high;
  }
  s.high_group = quad * 4 / layout.group();
  return s;
}

// Wrapping products and sums: the true value fits 32 bits, intermediate ones need not.
int32_t wrap_mul(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b));
}
int32_t wrap_add(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

float add_flat_span(const PackedLayout& layout, const uint8_t* block, int row, const SpanSums& s, float x_scale,
                    float acc) {
  const uint8_t* scales = block + layout.scales_offset();
  float sum = 0;
  for (int g = 0; g < 4; ++g) {
    sum = std::fma(static_cast<float>(s.low[g]), half_at(scales, g * kTileRows + row), sum);
    if (layout.has_min()) {
      const float min = half_at(block + layout.mins_offset(), g * kTileRows + row);
      sum = std::fma(static_cast<float>(s.sum[g]), -min, sum);
    }
  }
  sum = std::fma(static_cast<float>(wrap_mul(s.high, 256)), half_at(scales, s.high_group * kTileRows + row), sum);
  return std::fma(sum, x_scale, acc);
}

float add_nested_span(const PackedLayout& layout, const uint8_t* block, int row, int in_block, const SpanSums& s,
                      float x_scale, float acc) {
  const int groups = layout.groups_per_span();
  const auto* sub =
      reinterpret_cast<const int8_t*>(block + layout.scales_offset() + in_block * layout.span_scales_bytes());
  int32_t total = 0;
  for (int g = 0; g < groups; ++g) total = wrap_add(total, wrap_mul(s.low[g], sub[g * kTileRows + row]));
  total = wrap_add(total, wrap_mul(wrap_mul(s.high, sub[s.high_group * kTileRows + row]), 256));
  const uint8_t* super = block + layout.super_offset();
  acc = std::fma(static_cast<float>(total), half_at(super, row) * x_scale, acc);
  if (!layout.has_min()) return acc;
  const uint8_t* mins = block + layout.mins_offset() + in_block * layout.span_mins_bytes();
  int32_t min_total = 0;
  for (int g = 0; g < groups; ++g) min_total += mins[(g / 4 * kTileRows + row) * 4 + g % 4] * s.sum[g];
  return std::fma(static_cast<float>(min_total), half_at(super, kTileRows + row) * -x_scale, acc);
}

template <PackedFormat kFormat>
void gemm_tiles_reference(const GemmArgs& args, size_t tile_begin, size_t tile_end) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  for (size_t tile = tile_begin; tile < tile_end; ++tile) {
    for (int row = 0; row < kTileRows; ++row) {
      const int n = static_cast<int>(tile) * kTileRows + row;
      if (n >= args.num_rows) continue;
      for (int t = 0; t < args.num_tokens; ++t) {
        const size_t first = static_cast<size_t>(t) * args.num_spans;
        const QuantizedRows x{args.x.codes + static_cast<size_t>(t) * args.code_stride, args.x.scales + first,
                              args.x.outliers + first, args.x.outlier_quads + first, args.x.sums + first * 8};
        float acc = 0;
        for (int span = 0; span < args.num_spans; ++span) {
          const auto* block = reinterpret_cast<const uint8_t*>(args.weights) + tile * args.tile_bytes +
                              static_cast<size_t>(span / layout.spans_per_block()) * layout.block_bytes();
          const int in_block = span % layout.spans_per_block();
          const SpanSums s = span_sums(layout, block + in_block * layout.code_bytes(), row, x, span);
          acc = layout.nested() ? add_nested_span(layout, block, row, in_block, s, x.scales[span], acc)
                                : add_flat_span(layout, block, row, s, x.scales[span], acc);
        }
        const size_t at = static_cast<size_t>(t) * args.out_stride + static_cast<size_t>(n);
        if (args.bias != nullptr) acc += args.bias[n];
        if (args.residual != nullptr) acc += args.residual[at];
        args.out[at] = acc;
      }
    }
  }
}

}  // namespace

void add_reference_gemm(CpuKernels& kernels) {
  GemmTilesFn* table = kernels.gemm_tiles;
  table[int(PackedFormat::q4_0)] = gemm_tiles_reference<PackedFormat::q4_0>;
  table[int(PackedFormat::q4_1)] = gemm_tiles_reference<PackedFormat::q4_1>;
  table[int(PackedFormat::q5_0)] = gemm_tiles_reference<PackedFormat::q5_0>;
  table[int(PackedFormat::q5_1)] = gemm_tiles_reference<PackedFormat::q5_1>;
  table[int(PackedFormat::q8_0)] = gemm_tiles_reference<PackedFormat::q8_0>;
  table[int(PackedFormat::q2_k)] = gemm_tiles_reference<PackedFormat::q2_k>;
  table[int(PackedFormat::q3_k)] = gemm_tiles_reference<PackedFormat::q3_k>;
  table[int(PackedFormat::q4_k)] = gemm_tiles_reference<PackedFormat::q4_k>;
  table[int(PackedFormat::q5_k)] = gemm_tiles_reference<PackedFormat::q5_k>;
  table[int(PackedFormat::q6_k)] = gemm_tiles_reference<PackedFormat::q6_k>;
  table[int(PackedFormat::iq4_nl)] = gemm_tiles_reference<PackedFormat::iq4_nl>;
  table[int(PackedFormat::iq4_xs)] = gemm_tiles_reference<PackedFormat::iq4_xs>;
}

}  // namespace qwin
