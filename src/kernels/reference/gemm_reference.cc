// SPDX-License-Identifier: Apache-2.0
// The specification of the integer GEMM: which integers are summed, and in which order the few float operations come.
// Inside a span everything is exact integer arithmetic (any order gives the same sum); float work is one fused
// multiply-add a group (flat) or a span (nested) and one for the span's outlier, in order of columns, and after every
// fourth span the extra outliers of the four.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/half.h"
#include "kernels/cpu_kernels.h"

namespace qwin {

namespace {

// The code of one weight. `codes` points at the span's codes; k is 0 … 127.
int code_at(const PackedLayout& layout, const uint8_t* codes, int row, int k) {
  const int quad = k / 4, byte = 4 * row + k % 4;
  const auto at = [&](int vector) { return codes[vector * kVectorBytes + byte]; };
  if (layout.code == CodeKind::u8) return at(quad);
  const int low = at(layout.nibbles_at(quad / 2)) >> (quad % 2 * 4) & 15;
  switch (layout.code) {
    case CodeKind::lut4: return kLut4[low];
    case CodeKind::u5: return low | (at(layout.plane_at(quad / 8)) >> (quad % 8) & 1) << 4;
    case CodeKind::u6: return low | (at(layout.plane_at(quad / 4)) >> (quad % 4 * 2) & 3) << 4;
    default: return low;
  }
}

float half_at(const uint8_t* p, int index) {
  return half_to_float(static_cast<uint16_t>(p[2 * index] | p[2 * index + 1] << 8));
}

// One token's activations and one row's packed weights.
struct Operands {
  const GemmArgs& args;
  const PackedLayout& layout;
  const uint8_t* tile;
  int row, token;

  size_t at(int span) const { return static_cast<size_t>(span) * args.x.token_stride + static_cast<size_t>(token); }
  const uint8_t* block(int span) const {
    return tile + static_cast<size_t>(span / layout.spans_per_block()) * layout.block_bytes();
  }
  const uint8_t* at_span(int span) const { return block(span) + layout.span_offset(span % layout.spans_per_block()); }
  int code(int span, int k) const { return code_at(layout, at_span(span) + layout.codes_offset(), row, k); }
  uint32_t head(int span) const {  // span_sub5
    uint32_t word;
    std::memcpy(&word, block(span) + 4 * row, 4);
    return word;
  }
  int sub_scale(int span, int g) const {
    if (layout.scale == ScaleKind::span) return 1;
    if (layout.scale == ScaleKind::span_sub5) return static_cast<int32_t>(head(span) << (27 - 5 * g)) >> 27;
    return static_cast<int8_t>(at_span(span)[g * kTileRows + row]);
  }
  int sub_min(int span, int g) const {
    return at_span(span)[layout.mins_offset() + static_cast<size_t>((g / 4 * kTileRows + row) * 4 + g % 4)];
  }
  float super_scale(int span) const {
    if (layout.scale == ScaleKind::span_sub5)
      return half_to_float(static_cast<uint16_t>(head(span) >> 20 << 3)) * kHeadScale;
    return half_at(block(span), row);
  }
  float super_min(int span) const { return half_at(block(span), kTileRows + row); }
  float scale(int span, int g) const { return half_at(at_span(span), g * kTileRows + row); }
  float min(int span, int g) const { return half_at(at_span(span) + layout.mins_offset(), g * kTileRows + row); }

  // Of the group's activation codes.
  int sum(int span, int g) const {
    const int16_t* sums = args.x.sums + at(span) * 8;
    return layout.group() == 16 ? sums[g] : sums[2 * g] + sums[2 * g + 1];
  }
  // Sum of (code - zero) * activation code over the group.
  int dot(int span, int g) const {
    const int8_t* x = args.x.codes + at(span) * kSpan;
    int sum = 0;
    for (int k = g * layout.group(); k < (g + 1) * layout.group(); ++k) sum += (code(span, k) - layout.zero) * x[k];
    return sum;
  }
};

float add_flat_span(const Operands& o, int span, float acc) {
  float sum = 0;
  for (int g = 0; g < 4; ++g) {
    sum = std::fma(static_cast<float>(o.dot(span, g)), o.scale(span, g), sum);
    if (o.layout.has_min()) sum = std::fma(static_cast<float>(o.sum(span, g)), -o.min(span, g), sum);
  }
  return std::fma(sum, o.args.x.scales[o.at(span)], acc);
}

float add_nested_span(const Operands& o, int span, float acc) {
  int total = 0, min_total = 0;
  for (int g = 0; g < o.layout.groups_per_span(); ++g) {
    total += o.dot(span, g) * o.sub_scale(span, g);
    if (o.layout.has_min()) min_total += o.sum(span, g) * o.sub_min(span, g);
  }
  float sum = static_cast<float>(total) * o.super_scale(span);
  if (o.layout.has_min()) sum = std::fma(static_cast<float>(min_total), -o.super_min(span), sum);
  return std::fma(sum, o.args.x.scales[o.at(span)], acc);
}

// The weight of column k in float32.
float weight(const Operands& o, int span, int k) {
  const int g = k / o.layout.group();
  const auto code = static_cast<float>(o.code(span, k) - o.layout.zero);
  const bool nested = o.layout.nested();
  const float scale = nested ? o.super_scale(span) * static_cast<float>(o.sub_scale(span, g)) : o.scale(span, g);
  if (!o.layout.has_min()) return code * scale;
  const float min = nested ? o.super_min(span) * static_cast<float>(o.sub_min(span, g)) : o.min(span, g);
  return std::fma(code, scale, -min);
}

float add_outlier(const Operands& o, int span, const Outlier& outlier, float acc) {
  return std::fma(weight(o, span, static_cast<int>(outlier.column)), outlier.value, acc);
}

float add_extras(const Operands& o, int span, float acc) {
  const size_t block_at =
      static_cast<size_t>(span / kBlockSpans) * o.args.x.token_stride + static_cast<size_t>(o.token);
  const int count = o.args.x.extra_counts[block_at * kBlockSpans + static_cast<size_t>(span % kBlockSpans)];
  for (int i = 0; i < count; ++i)
    acc = add_outlier(o, span, o.args.x.extras[o.at(span) * kMaxExtras + static_cast<size_t>(i)], acc);
  return acc;
}

float dot_row(const Operands& o) {
  float acc = 0;
  for (int first = 0; first < o.args.num_spans; first += kBlockSpans) {
    const int end = std::min(first + kBlockSpans, o.args.num_spans);
    for (int span = first; span < end; ++span) {
      acc = o.layout.nested() ? add_nested_span(o, span, acc) : add_flat_span(o, span, acc);
      acc = add_outlier(o, span, o.args.x.outliers[o.at(span)], acc);
    }
    for (int span = first; span < end; ++span) acc = add_extras(o, span, acc);
  }
  return acc;
}

template <PackedFormat kFormat>
void gemm_tiles_reference(const GemmArgs& args, size_t tile_begin, size_t tile_end) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  for (size_t tile = tile_begin; tile < tile_end; ++tile) {
    const auto* data = reinterpret_cast<const uint8_t*>(args.weights) + tile * args.tile_bytes;
    for (int row = 0; row < kTileRows; ++row) {
      const int n = static_cast<int>(tile) * kTileRows + row;
      if (n >= args.num_rows) continue;
      for (int t = 0; t < args.num_tokens; ++t) {
        float acc = dot_row({args, layout, data, row, t});
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
  table[int(PackedFormat::q4)] = gemm_tiles_reference<PackedFormat::q4>;
  table[int(PackedFormat::q5)] = gemm_tiles_reference<PackedFormat::q5>;
  table[int(PackedFormat::q6)] = gemm_tiles_reference<PackedFormat::q6>;
  table[int(PackedFormat::q8)] = gemm_tiles_reference<PackedFormat::q8>;
}

}  // namespace qwin
