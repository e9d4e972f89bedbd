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

// Cuts tokens [0, count) into groups of T <= kMaxTokens as evenly as can be: body<T>(token, groups) is to take `groups`
// of them from `token` on.
template <typename Body>
inline void for_token_groups(int count, const Body& body) {
  const auto take = [&](int size, int token, int groups) {
    if (groups == 0) return;
    switch (size) {
      case 1: return body.template operator()<1>(token, groups);
      case 2: return body.template operator()<2>(token, groups);
      case 3: return body.template operator()<3>(token, groups);
      case 4: return body.template operator()<4>(token, groups);
      default:
        if constexpr (Isa::kMaxTokens == 8) {
          switch (size) {
            case 5: return body.template operator()<5>(token, groups);
            case 6: return body.template operator()<6>(token, groups);
            case 7: return body.template operator()<7>(token, groups);
            default: return body.template operator()<8>(token, groups);
          }
        }
    }
  };
  const int groups = (count + Isa::kMaxTokens - 1) / Isa::kMaxTokens, size = count / groups, larger = count % groups;
  take(size + 1, 0, larger);
  take(size, larger * (size + 1), groups - larger);
}

// Groups of T tokens meet the spans of a panel. The loop over the groups is in here and over copies of the arguments,
// which stay in registers: a call for each group cost 60 cycles, 5 % of its time.
template <PackedFormat kFormat, int T>
__attribute__((noinline)) void panel_tokens(const GemmArgs& shared_args, const SpanOfMany<kFormat>* panel,
                                            const PanelSums& shared_sums, int token, int groups) {
  const PanelSums sums = shared_sums;
  const GemmArgs args = shared_args;
  for (int i = 0; i < groups; ++i, token += T) {
    const SpanKernel<kFormat, T> kernel{args, token};
    Float acc[T];
    sums.take_up(token, acc);
    for (int span = 0; span < sums.count; ++span) kernel.add(panel[span], sums.first + span, acc);
    kernel.add_extras([&](int span) -> const SpanOfMany<kFormat>& { return panel[span]; }, sums.first, sums.count, acc);
    sums.put_away(args, token, acc);
  }
}

template <PackedFormat kFormat>
inline void meet_panel(const GemmArgs& args, const SpanOfMany<kFormat>* panel, const PanelSums& sums) {
  for_token_groups(args.num_tokens,
                   [&]<int T>(int token, int groups) { panel_tokens<kFormat, T>(args, panel, sums, token, groups); });
}

template <PackedFormat kFormat, typename Span>
void panel_tiles(const GemmArgs& args, size_t tile_begin, int num_tiles) {
  constexpr PackedLayout layout = packed_layout(kFormat);
  constexpr int kPerBlock = layout.spans_per_block();
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
      const PanelSums sums = {.first = first,
                              .count = count,
                              .row = int(tile_begin) * kTileRows + item * Isa::kRows,
                              .waiting = args.scratch + size_t(item) * size_t(args.num_tokens) * Isa::kRows};
      meet_panel<kFormat>(args, panel, sums);
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
  for_token_groups(args.num_tokens, [&]<int T>(int token, int groups) {
    for (const int end = token + groups * T; token < end; token += T) {
      for (size_t tile = tile_begin; tile < tile_end; ++tile) tile_tokens<kFormat, T>(args, tile, token);
    }
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
