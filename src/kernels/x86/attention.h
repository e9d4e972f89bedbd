// SPDX-License-Identifier: Apache-2.0
// Paged attention over a vector type, in float32. A page of K and V is widened once for all query rows; R rows meet 4
// vectors of keys (or of output columns) at a time: 6 x 4 accumulators of 32 registers in 512 bits, 2 x 4 of 16 in 256.
// Include after the ISA's vector type.
#pragma once

#include "kernels/cpu_kernels.h"
#include "kernels/x86/float_order.h"

namespace qwin {
namespace {

constexpr int kW = Isa::kRows;              // floats a vector
constexpr int kMaxRows = kW == 16 ? 6 : 2;  // query rows at a time
constexpr float kMinusInfinity = -__builtin_inff();

template <KvType kType>
struct PageView {
  const std::byte* k;  // [head_dim, 64]
  const std::byte* v;  // [64, head_dim]
  int64_t first_key;   // position of slot 0

  static Isa::Float load(const std::byte* p, size_t index) {
    if constexpr (kType == KvType::f32) return Isa::load_float(reinterpret_cast<const float*>(p) + index);
    return Isa::load_half(p + 2 * index);
  }
  Isa::Float load_k(size_t index) const { return load(k, index); }
  Isa::Float load_v(size_t index) const { return load(v, index); }
};

// Query rows (token, head) of one call, with their running maximum, sum and accumulator.
struct Rows {
  const AttentionArgs& args;
  float* acc;  // [rows, head_dim]
  float* max;  // [rows]
  float* sum;  // [rows]

  const float* q(int row) const {
    return args.q + size_t(row / args.group) * args.q_stride + size_t(row % args.group) * args.head_dim;
  }
  float* out(int row) const {
    return args.out + size_t(row / args.group) * args.out_stride + size_t(row % args.group) * args.head_dim;
  }
  int64_t position(int row) const { return args.first_position + row / args.group; }

  // Bit j: key `first_key + j` is visible to the row.
  uint64_t visible(int row, int64_t first_key) const {
    const int64_t query = position(row);
    const auto below = [](int64_t n) { return n <= 0 ? uint64_t{0} : n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; };
    uint64_t keys = below(query - first_key + 1);
    if (args.window > 0) keys &= ~below(query - args.window + 1 - first_key) | below(args.num_sinks - first_key);
    return keys;
  }
};

// scores[r][j] = scale * q[row + r] . k[j], or -infinity where masked; returns through page_max the maximum of each
// row.
template <int R, KvType kType>
inline void score_rows(const Rows& rows, int row, const PageView<kType>& page, float (*scores)[kPageSize],
                       float* page_max) {
  const AttentionArgs& args = rows.args;
  const float* q[R];
  uint64_t visible[R];
  for (int r = 0; r < R; ++r) {
    q[r] = rows.q(row + r);
    visible[r] = rows.visible(row + r, page.first_key);
    page_max[r] = kMinusInfinity;
  }
  for (int chunk = 0; chunk < kPageSize; chunk += 4 * kW) {
    Isa::Float dot[R][4];
    for (int r = 0; r < R; ++r) {
      for (int i = 0; i < 4; ++i) dot[r][i] = Isa::zero_float();
    }
    for (int d = 0; d < args.head_dim; ++d) {
      Isa::Float k[4];
      for (int i = 0; i < 4; ++i) k[i] = page.load_k(size_t(d) * kPageSize + chunk + i * kW);
      for (int r = 0; r < R; ++r) {
        const Isa::Float x = Isa::broadcast_float(q[r] + d);
        for (int i = 0; i < 4; ++i) dot[r][i] = Isa::fma(x, k[i], dot[r][i]);
      }
    }
    for (int r = 0; r < R; ++r) {
      Isa::Float max = Isa::set_float(kMinusInfinity);
      for (int i = 0; i < 4; ++i) {
        const auto bits = uint32_t(visible[r] >> (chunk + i * kW)) & ((kW == 16 ? 0xffffu : 0xffu));
        const Isa::Float s = Isa::select_bits(bits, Isa::mul_float(dot[r][i], Isa::set_float(args.softmax_scale)),
                                              Isa::set_float(kMinusInfinity));
        Isa::store_float(scores[r] + chunk + i * kW, s);
        max = Isa::max(max, s);
      }
      const float m = Isa::reduce_max(max);
      if (m > page_max[r]) page_max[r] = m;
    }
  }
}

// Columns [column, column + 4 or fewer vectors) of acc = acc * keep + p . v.
template <int R, int N, KvType kType>
inline void accumulate_columns(const Rows& rows, int row, const PageView<kType>& page, const float (*p)[kPageSize],
                               const float* keep, int num_keys, int column) {
  const size_t head_dim = size_t(rows.args.head_dim);
  Isa::Float acc[R][N];
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < N; ++i) {
      acc[r][i] = Isa::mul_float(Isa::load_float(rows.acc + size_t(row + r) * head_dim + column + i * kW),
                                 Isa::set_float(keep[r]));
    }
  }
  for (int j = 0; j < num_keys; ++j) {
    Isa::Float v[N];
    for (int i = 0; i < N; ++i) v[i] = page.load_v(size_t(j) * head_dim + column + i * kW);
    for (int r = 0; r < R; ++r) {
      const Isa::Float x = Isa::broadcast_float(&p[r][j]);
      for (int i = 0; i < N; ++i) acc[r][i] = Isa::fma(x, v[i], acc[r][i]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < N; ++i) Isa::store_float(rows.acc + size_t(row + r) * head_dim + column + i * kW, acc[r][i]);
  }
}

template <int R, KvType kType>
__attribute__((noinline)) void attend_rows(const Rows& rows, int row, const PageView<kType>& page) {
  alignas(64) float p[R][kPageSize];
  float page_max[R], keep[R];
  score_rows<R, kType>(rows, row, page, p, page_max);
  int64_t last = 0;
  for (int r = 0; r < R; ++r) {
    float& max = rows.max[row + r];
    const float new_max = page_max[r] > max ? page_max[r] : max;
    // Before the first visible key both are -infinity: nothing to keep, nothing to add.
    keep[r] = new_max == kMinusInfinity || max == new_max ? 1.0f : exp_scalar(max - new_max);
    const Isa::Float shift = Isa::set_float(new_max == kMinusInfinity ? 0.0f : -new_max);
    Isa::Float lanes[kLaneParts];
    for (auto& part : lanes) part = Isa::zero_float();
    for (int j = 0; j < kPageSize; j += kW) {
      const Isa::Float e = exp_vector(Isa::add_float(Isa::load_float(p[r] + j), shift));
      Isa::store_float(p[r] + j, e);
      Isa::Float& part = lanes[j / kW % kLaneParts];
      part = Isa::add_float(part, e);
    }
    rows.sum[row + r] = rows.sum[row + r] * keep[r] + reduce_lanes(lanes);
    max = new_max;
    const int64_t end = rows.position(row + r) - page.first_key + 1;
    if (end > last) last = end;
  }
  // Slots past the last query's position may hold another sequence's leftovers: they are not read.
  const int num_keys = int(last < kPageSize ? last : kPageSize);
  int column = 0;
  for (; column + 4 * kW <= rows.args.head_dim; column += 4 * kW)
    accumulate_columns<R, 4, kType>(rows, row, page, p, keep, num_keys, column);
  for (; column + kW <= rows.args.head_dim; column += kW)
    accumulate_columns<R, 1, kType>(rows, row, page, p, keep, num_keys, column);
}

template <KvType kType>
inline void attend_block(const Rows& rows, int row, int count, const PageView<kType>& page) {
  switch (count) {
    case 1: return attend_rows<1, kType>(rows, row, page);
    case 2: return attend_rows<2, kType>(rows, row, page);
    case 3: return attend_rows < kMaxRows == 6 ? 3 : 1 > (rows, row, page);
    case 4: return attend_rows < kMaxRows == 6 ? 4 : 1 > (rows, row, page);
    case 5: return attend_rows < kMaxRows == 6 ? 5 : 1 > (rows, row, page);
    default: return attend_rows < kMaxRows == 6 ? 6 : 1 > (rows, row, page);
  }
}

template <KvType kType>
inline PageView<kType> stored_page(const AttentionArgs& args, const std::byte* page, int64_t first_key) {
  return {page, page + size_t(kPageSize) * args.head_dim * (kType == KvType::f32 ? 4 : 2), first_key};
}

// The page in float32, in scratch.
template <KvType kType>
inline PageView<KvType::f32> widen_page(const AttentionArgs& args, const std::byte* page, int64_t first_key) {
  const size_t floats = 2 * size_t(kPageSize) * args.head_dim;
  for (size_t i = 0; i < floats; i += kW) Isa::store_float(args.scratch + i, PageView<kType>::load(page, i));
  return stored_page<KvType::f32>(args, reinterpret_cast<const std::byte*>(args.scratch), first_key);
}

template <KvType kType>
inline void attend_page(const Rows& rows, int first_row, int num_rows, const PageView<kType>& page) {
  for (int row = first_row; row < num_rows; row += kMaxRows) {
    attend_block(rows, row, num_rows - row < kMaxRows ? num_rows - row : kMaxRows, page);
  }
}

// Whether any row of the call sees a key of the page.
inline bool page_needed(const AttentionArgs& args, int64_t first_key) {
  return args.window == 0 || first_key < args.num_sinks ||
         first_key + kPageSize > args.first_position - args.window + 1;
}

template <KvType kType>
void attention(const AttentionArgs& args) {
  const int num_rows = args.num_tokens * args.group;
  const size_t head_dim = size_t(args.head_dim);
  float* acc = args.scratch + 2 * kPageSize * head_dim;
  const Rows rows{args, acc, acc + num_rows * head_dim, acc + num_rows * (head_dim + 1)};
  for (size_t i = 0; i < num_rows * head_dim; ++i) acc[i] = 0;
  for (int row = 0; row < num_rows; ++row) {
    rows.max[row] = kMinusInfinity;
    rows.sum[row] = 0;
  }
  const int64_t last_position = args.first_position + args.num_tokens - 1;
  for (int64_t first_key = 0; first_key <= last_position; first_key += kPageSize) {
    if (!page_needed(args, first_key)) continue;
    const std::byte* stored = args.base + size_t(args.pages[first_key / kPageSize]) * args.page_stride;
    // Rows of tokens before this page see nothing of it.
    const int row = first_key > args.first_position ? int(first_key - args.first_position) * args.group : 0;
    if (kType == KvType::f32 || num_rows - row <= 2 * kMaxRows) {
      attend_page(rows, row, num_rows, stored_page<kType>(args, stored, first_key));
    } else {
      attend_page(rows, row, num_rows, widen_page<kType>(args, stored, first_key));
    }
  }
  for (int row = 0; row < num_rows; ++row) {
    const Isa::Float inverse = Isa::set_float(1.0f / rows.sum[row]);
    float* out = rows.out(row);
    for (size_t d = 0; d < head_dim; d += kW) {
      Isa::store_float(out + d, Isa::mul_float(Isa::load_float(acc + row * head_dim + d), inverse));
    }
  }
}

template <KvType kType>
void store_kv(const float* k, const float* v, size_t head_dim, std::byte* page, size_t slot) {
  if constexpr (kType == KvType::f32) {
    auto* out = reinterpret_cast<float*>(page);
    for (size_t d = 0; d < head_dim; ++d) out[d * kPageSize + slot] = k[d];
    memcpy(out + (kPageSize + slot) * head_dim, v, head_dim * sizeof(float));
  } else {
    auto* out = reinterpret_cast<uint16_t*>(page);
    for (size_t d = 0; d < head_dim; d += kW) {
      uint16_t halves[kW];
      Isa::store_half(halves, Isa::load_float(k + d));
      for (int i = 0; i < kW; ++i) out[(d + i) * kPageSize + slot] = halves[i];
      Isa::store_half(out + (kPageSize + slot) * head_dim + d, Isa::load_float(v + d));
    }
  }
}

void fill_attention(CpuKernels& kernels) {
  kernels.store_kv[int(KvType::f32)] = store_kv<KvType::f32>;
  kernels.store_kv[int(KvType::f16)] = store_kv<KvType::f16>;
  kernels.attention[int(KvType::f32)] = attention<KvType::f32>;
  kernels.attention[int(KvType::f16)] = attention<KvType::f16>;
}

}  // namespace
}  // namespace qwin
