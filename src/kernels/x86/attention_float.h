// SPDX-License-Identifier: Apache-2.0
// Attention over K and V as numbers, in float32. R query rows meet 4 vectors of keys (or of output columns) at a time:
// 24 chains in 512 bits, 8 in 256, where 4 cycles of latency and 2 ports need 8.
#pragma once

#include "kernels/x86/attention.h"

namespace qwin {
namespace {

template <KvType kType>
inline Isa::Float load_number(const std::byte* p, size_t index) {
  if constexpr (kType == KvType::f32) return Isa::load_float(reinterpret_cast<const float*>(p) + index);
  return Isa::load_half(p + 2 * index);
}

template <KvType kType>
struct FloatBlock {
  static constexpr int kBytes = kType == KvType::f32 ? 4 : 2;

  // scores[r][j] = scale * q[row + r] . k[j] of one page.
  template <int R>
  static void score(const AttentionArgs& args, int row, const Page& page, float* const (&scores)[R]) {
    const float* q[R];
    uint64_t visible[R];
    for (int r = 0; r < R; ++r) {
      q[r] = query_of(args, row + r, page.chunk_distance);
      visible[r] = visible_keys(args, row + r, page.first_key);
    }
    for (int chunk = 0; chunk < kPageSize; chunk += 4 * kW) {
      Isa::Float dot[R][4];
      for (int r = 0; r < R; ++r) {
        for (int i = 0; i < 4; ++i) dot[r][i] = Isa::zero_float();
      }
      const std::byte* keys[4];
      for (int i = 0; i < 4; ++i) {
        const int key = chunk + i * kW, part = key / kPartSize;
        keys[i] = page.parts[part].page + (size_t(page.parts[part].slot) * args.head_dim + key % kPartSize) * kBytes;
      }
      // V of each part of the chunk in its share of the time.
      constexpr int kParts = 4 * kW / kPartSize;
      for (int part = 0; part < kParts; ++part) {
        const Part& at = page.parts[chunk / kPartSize + part];
        const std::byte* v = at.page + size_t(kPageSize + at.slot) * args.head_dim * kBytes;
        const int begin = args.head_dim / kParts * part, end = args.head_dim / kParts * (part + 1);
        for (int d = begin; d < end; ++d, v += 4 * kW * kBytes) {
          Isa::Float k[4];
          prefetch_lines<4 * kW * kBytes>(v);
          for (int i = 0; i < 4; ++i) k[i] = load_number<kType>(keys[i], size_t(d) * kPartSize);
          for (int r = 0; r < R; ++r) {
            const Isa::Float x = Isa::broadcast_float(q[r] + d);
            for (int i = 0; i < 4; ++i) dot[r][i] = Isa::fma(x, k[i], dot[r][i]);
          }
        }
      }
      for (int r = 0; r < R; ++r) {
        for (int i = 0; i < 4; ++i) dot[r][i] = Isa::mul_float(dot[r][i], Isa::set_float(args.softmax_scale));
        store_visible(visible[r] >> chunk, dot[r], scores[r] + chunk);
      }
    }
  }

  // Columns [column, column + N vectors) of acc[r] = sum over the split's keys of p[r][j] * v[j]. Slots past the last
  // query's position may hold another sequence's leftovers: they are not read.
  template <int R, int N>
  static void add_values(const AttentionArgs& args, int row, const Split& split, const float (*p)[kSplitKeys],
                         const Partials& out, int column) {
    const size_t head_dim = size_t(args.head_dim);
    const int64_t end = position_of(args, row + R - 1) + 1;
    Isa::Float acc[R][N];
    for (int r = 0; r < R; ++r) {
      for (int i = 0; i < N; ++i) acc[r][i] = Isa::zero_float();
    }
    for (int n = 0; n < split.count; ++n) {
      const Page& page = split.pages[n];
      const int64_t left = end - page.first_key;
      const int num_keys = int(left < kPageSize ? left : kPageSize);
      for (int first = 0; first < num_keys; first += kPartSize) {
        const int part = first / kPartSize, count = num_keys - first < kPartSize ? num_keys - first : kPartSize;
        const Part &at = page.parts[part], &next = page.ahead[part];
        const std::byte* v = at.page + kv_page_layout(kType, head_dim, 0).v + (at.slot * head_dim + column) * kBytes;
        const std::byte* ahead = next.page + (next.slot * head_dim + size_t(column) * kPartSize) * kBytes;
        const float* weights = &p[0][n * kPageSize + first];
        for (int j = 0; j < count; ++j, v += head_dim * kBytes, ahead += N * kW * kBytes) {
          Isa::Float x[N];
          prefetch_lines<N * kW * kBytes>(ahead);
          for (int i = 0; i < N; ++i) x[i] = load_number<kType>(v, i * kW);
          for (int r = 0; r < R; ++r) {
            const Isa::Float weight = Isa::broadcast_float(weights + r * kSplitKeys + j);
            for (int i = 0; i < N; ++i) acc[r][i] = Isa::fma(weight, x[i], acc[r][i]);
          }
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int i = 0; i < N; ++i) Isa::store_float(out.acc + size_t(row + r) * head_dim + column + i * kW, acc[r][i]);
    }
  }

  template <int R>
  static __attribute__((noinline)) void run(const AttentionArgs& args, int row, const Split& split,
                                            const Partials& out) {
    alignas(64) float p[R][kSplitKeys];
    for (int n = 0; n < split.count; ++n) {
      float* scores[R];
      for (int r = 0; r < R; ++r) scores[r] = p[r] + n * kPageSize;
      score<R>(args, row, split.pages[n], scores);
    }
    for (int r = 0; r < R; ++r) softmax_row(p[r], split.count * kPageSize, &out.max[row + r], &out.sum[row + r]);
    int column = 0;
    for (; column + 4 * kW <= args.head_dim; column += 4 * kW) add_values<R, 4>(args, row, split, p, out, column);
    for (; column + kW <= args.head_dim; column += kW) add_values<R, 1>(args, row, split, p, out, column);
  }
};

template <KvType kType>
class FloatAttention {
 public:
  FloatAttention(const AttentionArgs& args, float* scratch) : args_(args), widened_(scratch) {}

  void attend(const Split& split, RowRange rows, const Partials& out) {
    // Widening pays when several blocks of rows share it.
    const bool few = rows.end - rows.begin <= 2 * kMaxRows || !split.pages[0].in_place;
    if (kType == KvType::f32 || few) return attend_as<kType>(split, rows, out);
    const size_t page_floats = 2 * size_t(kPageSize) * args_.head_dim;
    Split widened = split;
    for (int n = 0; n < split.count; ++n) {
      float* page = widened_ + size_t(n) * page_floats;
      for (size_t i = 0; i < page_floats; i += kW)
        Isa::store_float(page + i, load_number<kType>(split.pages[n].parts[0].page, i));
      for (int i = 0; i < kPageParts; ++i) {
        Page& to = widened.pages[n];
        to.parts[i] = to.ahead[i] = {reinterpret_cast<const std::byte*>(page), i * kPartSize};
      }
    }
    attend_as<KvType::f32>(widened, rows, out);
  }

 private:
  template <KvType kRead>
  void attend_as(const Split& split, RowRange rows, const Partials& out) {
    for_each_block(args_, split, rows, out, [&](int row, int count, const Split& pages) {
      run_block<FloatBlock<kRead>, kMaxRows>(count, args_, row, pages, out);
    });
  }

  const AttentionArgs& args_;
  float* widened_;  // [kSplitPages, 2 * kPageSize * head_dim]
};

}  // namespace
}  // namespace qwin
