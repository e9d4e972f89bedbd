// SPDX-License-Identifier: Apache-2.0
// The integer GEMM of packed_layout.h for x86: how rows and tokens are taken in turn. Up to Isa::kMaxTokens tokens read
// the weights once, unpacking in registers. More tokens meet a panel: four spans of a tile unpacked to bytes, which
// stay in the L1 cache while all tokens pass.
#pragma once

#include "kernels/x86/gemm_span.h"
#ifdef QWIN_ISA_TILE_UNIT
#include "kernels/x86/gemm_tile_unit.h"
#endif

namespace qwin {
namespace {

constexpr int kHalves = kTileRows / Isa::kRows;

template <int T>
inline void store_tokens(const GemmArgs& args, int token, int row, Float (&acc)[T]) {
  const int rows = args.num_rows - row;
  if (rows <= 0) return;
  for (int t = 0; t < T; ++t) {
    const size_t at = size_t(token + t) * args.out_stride + size_t(row);
    if (rows >= Isa::kRows) {
      if (args.bias != nullptr) acc[t] = Isa::add_float(acc[t], Isa::load_float(args.bias + row));
      if (args.residual != nullptr) acc[t] = Isa::add_float(acc[t], Isa::load_float(args.residual + at));
      Isa::store_float(args.out + at, acc[t]);
      continue;
    }
    float values[Isa::kRows];
    Isa::store_float(values, acc[t]);
    for (int r = 0; r < rows; ++r) {
      if (args.bias != nullptr) values[r] += args.bias[row + r];
      if (args.residual != nullptr) values[r] += args.residual[at + r];
      args.out[at + r] = values[r];
    }
  }
}

inline const uint8_t* tile_data(const GemmArgs& args, size_t tile) {
  return reinterpret_cast<const uint8_t*>(args.weights) + tile * args.tile_bytes;
}

// Asks for lines that are needed later, while the L1 cache is full: into the L2 cache.
inline void prefetch(const uint8_t* data, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(data + i, 0, 2);
}

// How far ahead more than 4 tokens ask for weights. Up to 4 use a line so quickly that the processor's own prefetcher
// sees the stream and does better alone (Zen 4: Q4_K 51 against 33 GB/s with lines requested one by one).
constexpr size_t kPrefetchAhead = 8192;

template <PackedFormat kFormat, int T>
__attribute__((noinline)) void tile_tokens(const GemmArgs& args, size_t tile, int token) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  constexpr int kPerBlock = layout.spans_per_block();
  const SpanKernel<kFormat, T> kernel{args, token};
  for (int half = 0; half < kHalves; ++half) {
    Float acc[T];
    for (int t = 0; t < T; ++t) acc[t] = Isa::zero_float();
    const uint8_t* block = tile_data(args, tile);
    for (int first = 0; first < args.num_spans; first += kBlockSpans) {
      const int count = args.num_spans - first < kBlockSpans ? args.num_spans - first : kBlockSpans;
      const uint8_t* first_block = block;
      for (int i = 0; i < count; i += kPerBlock, block += layout.block_bytes()) {
        if constexpr (T > 4) prefetch(block + kPrefetchAhead, layout.block_bytes());
        for (int j = 0; j < kPerBlock; ++j) kernel.add(SpanOfFew<kFormat, T>(block, j, half), first + i + j, acc);
      }
      const auto source = [&](int i) {
        return PackedSpan<kFormat>(first_block + i / kPerBlock * layout.block_bytes(), i % kPerBlock, half);
      };
      kernel.add_extras(source, first, count, acc);
    }
    store_tokens<T>(args, token, int(tile) * kTileRows + half * Isa::kRows, acc);
  }
}

// Calls body<T>(token) for groups of T <= kMaxTokens tokens that cover [begin, end) as evenly as can be.
template <typename Body>
inline void for_token_groups(int begin, int end, const Body& body) {
  const int count = end - begin, groups = (count + Isa::kMaxTokens - 1) / Isa::kMaxTokens;
  for (int i = 0, token = begin; i < groups; ++i) {
    const int size = count / groups + (i < count % groups);
    switch (size) {
      case 1: body.template operator()<1>(token); break;
      case 2: body.template operator()<2>(token); break;
      case 3: body.template operator()<3>(token); break;
      case 4: body.template operator()<4>(token); break;
      default:
        if constexpr (Isa::kMaxTokens == 8) {
          switch (size) {
            case 5: body.template operator()<5>(token); break;
            case 6: body.template operator()<6>(token); break;
            case 7: body.template operator()<7>(token); break;
            default: body.template operator()<8>(token);
          }
        }
    }
    token += size;
  }
}

// The spans [first, first + count) of T tokens; acc [T][Isa::kRows] carries on from panel to panel.
template <PackedFormat kFormat, int T>
__attribute__((noinline)) void panel_tokens(const GemmArgs& args, const SpanOfMany<kFormat>* panel, int first,
                                            int count, int token, float* sums) {
  const SpanKernel<kFormat, T> kernel{args, token};
  Float acc[T];
  for (int t = 0; t < T; ++t) acc[t] = Isa::load_float(sums + t * Isa::kRows);
  for (int i = 0; i < count; ++i) kernel.add(panel[i], first + i, acc);
  kernel.add_extras([&](int i) -> const SpanOfMany<kFormat>& { return panel[i]; }, first, count, acc);
  for (int t = 0; t < T; ++t) Isa::store_float(sums + t * Isa::kRows, acc[t]);
}

// All tokens meet the spans [first, first + count); sums [num_tokens][Isa::kRows].
template <PackedFormat kFormat>
inline void meet_panel(const GemmArgs& args, const SpanOfMany<kFormat>* panel, int first, int count, float* sums) {
  for_token_groups(0, args.num_tokens, [&]<int T>(int token) {
    panel_tokens<kFormat, T>(args, panel, first, count, token, sums + token * Isa::kRows);
  });
}

template <PackedFormat kFormat, typename Span>
void panel_tiles(const GemmArgs& args, size_t tile_begin, int num_tiles) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  constexpr int kPerBlock = layout.spans_per_block();
  const size_t tile_floats = size_t(args.num_tokens) * kTileRows;
  memset(args.scratch, 0, size_t(num_tiles) * tile_floats * sizeof(float));
  Span panel[kBlockSpans];
  for (int first = 0; first < args.num_spans; first += kBlockSpans) {
    const int count = args.num_spans - first < kBlockSpans ? args.num_spans - first : kBlockSpans;
    for (int item = 0; item < num_tiles * kHalves; ++item) {
      const int tile = item / kHalves, half = item % kHalves;
      const uint8_t* block =
          tile_data(args, tile_begin + size_t(tile)) + size_t(first / kPerBlock) * layout.block_bytes();
      for (int i = 0; i < count; ++i)
        panel[i].unpack(PackedSpan<kFormat>(block + i / kPerBlock * layout.block_bytes(), i % kPerBlock, half));
      prefetch(block + args.tile_bytes, size_t(kBlockSpans / kPerBlock) * layout.block_bytes());
      float* sums = args.scratch + size_t(item) * size_t(args.num_tokens) * Isa::kRows;
      meet_panel<kFormat>(args, panel, first, count, sums);
    }
  }
  for (int item = 0; item < num_tiles * kHalves; ++item) {
    const float* sums = args.scratch + size_t(item) * size_t(args.num_tokens) * Isa::kRows;
    const int row = int(tile_begin) * kTileRows + item * Isa::kRows;
    for (int t = 0; t < args.num_tokens; ++t) {
      Float acc[1] = {Isa::load_float(sums + t * Isa::kRows)};
      store_tokens<1>(args, t, row, acc);
    }
  }
}

template <PackedFormat kFormat, typename Span>
inline void panels(const GemmArgs& args, size_t tile_begin, size_t tile_end) {
  for (size_t tile = tile_begin; tile < tile_end; tile += kPanelTiles)
    panel_tiles<kFormat, Span>(args, tile, tile_end - tile < kPanelTiles ? int(tile_end - tile) : kPanelTiles);
}

// Up to here reading the weights again and unpacking them in registers costs less than a panel that is unpacked once.
constexpr int kFewTokens = 3 * Isa::kMaxTokens;

template <PackedFormat kFormat>
void gemm_tiles(const GemmArgs& args, size_t tile_begin, size_t tile_end) {
#ifdef QWIN_ISA_TILE_UNIT
  if (args.num_tokens >= kUnitFrom) return panels<kFormat, UnitSpan<kFormat>>(args, tile_begin, tile_end);
#endif
  if (args.num_tokens > kFewTokens) return panels<kFormat, SpanOfMany<kFormat>>(args, tile_begin, tile_end);
  for_token_groups(0, args.num_tokens, [&]<int T>(int token) {
    for (size_t tile = tile_begin; tile < tile_end; ++tile) tile_tokens<kFormat, T>(args, tile, token);
  });
}

void fill_gemm_tiles(GemmTilesFn* table) {
  table[int(PackedFormat::q4_0)] = gemm_tiles<PackedFormat::q4_0>;
  table[int(PackedFormat::q4_1)] = gemm_tiles<PackedFormat::q4_1>;
  table[int(PackedFormat::q5_0)] = gemm_tiles<PackedFormat::q5_0>;
  table[int(PackedFormat::q5_1)] = gemm_tiles<PackedFormat::q5_1>;
  table[int(PackedFormat::q8_0)] = gemm_tiles<PackedFormat::q8_0>;
  table[int(PackedFormat::q2_k)] = gemm_tiles<PackedFormat::q2_k>;
  table[int(PackedFormat::q3_k)] = gemm_tiles<PackedFormat::q3_k>;
  table[int(PackedFormat::q4_k)] = gemm_tiles<PackedFormat::q4_k>;
  table[int(PackedFormat::q5_k)] = gemm_tiles<PackedFormat::q5_k>;
  table[int(PackedFormat::q6_k)] = gemm_tiles<PackedFormat::q6_k>;
  table[int(PackedFormat::iq4_nl)] = gemm_tiles<PackedFormat::iq4_nl>;
  table[int(PackedFormat::iq4_xs)] = gemm_tiles<PackedFormat::iq4_xs>;
  table[int(PackedFormat::q4)] = gemm_tiles<PackedFormat::q4>;
  table[int(PackedFormat::q5)] = gemm_tiles<PackedFormat::q5>;
  table[int(PackedFormat::q6)] = gemm_tiles<PackedFormat::q6>;
  table[int(PackedFormat::q8)] = gemm_tiles<PackedFormat::q8>;
}

}  // namespace
}  // namespace qwin
