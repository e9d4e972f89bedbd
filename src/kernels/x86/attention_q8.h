// SPDX-License-Identifier: Apache-2.0
// Attention over K and V in 8 bits: both products are integer dot products of 4 channels (of K) or 4 keys (of V) in a
// 32-bit lane, so a lane is a key's score or an output column and nothing is summed across lanes.
#pragma once

#include "kernels/x86/attention.h"
#include "kernels/x86/q8_rows.h"

namespace qwin {
namespace {

constexpr float kMaxQuery = 32639;  // 127 * 256 + 127: both digits of the code fit 8 bits

// The query rows as 16-bit codes in two planes of digits, those of the wide channels repeated at the end. K is stored
// + 128, which the corrections take out again.
struct QueryDigits {
  int8_t* high;          // [rows, stride]
  int8_t* low;           // [rows, stride]
  int32_t* corrections;  // [rows, 2]: -128 * sum of the codes, of all channels and of the wide ones
  float* scales;         // [rows] softmax scale included
  size_t stride;         // head_dim + wide channels

  // The rows in one of their rotations; scratch [rows, q8_query_floats()].
  void set(const AttentionArgs& args, int chunk_distance, float* scratch) {
    const size_t rows = size_t(num_rows_of(args));
    stride = size_t(args.head_dim + args.wide.count);
    scales = scratch;
    corrections = reinterpret_cast<int32_t*>(scratch + rows);
    high = reinterpret_cast<int8_t*>(scratch + 3 * rows);
    low = high + rows * stride;
    for (size_t row = 0; row < rows; ++row) quantize(args, query_of(args, int(row), chunk_distance), row);
  }

 private:
  void quantize(const AttentionArgs& args, const float* q, size_t row) const {
    int8_t *h = high + row * stride, *l = low + row * stride;
    const size_t n = size_t(args.head_dim);
    const bool finite = all_finite(q, n);
    const float max = finite ? largest_magnitude(q, n) : 0;
    const Isa::Float inverse = Isa::set_float(max > kMinScale ? kMaxQuery / max : 0);
    Isa::Int sum = Isa::zero();
    for (size_t d = 0; d < n; d += kW) {
      const Isa::Int codes = finite ? Isa::to_int(Isa::mul_float(Isa::load_float(q + d), inverse)) : Isa::zero();
      Isa::store_s8(h + d, high_digits(codes));
      Isa::store_s8(l + d, low_digits(codes));
      sum = Isa::add(sum, codes);
    }
    int wide_sum = 0;
    for (int w = 0; w < args.wide.count; ++w) {
      const int channel = args.wide.channels[w];
      h[n + size_t(w)] = channel < 0 ? int8_t(0) : h[channel];
      l[n + size_t(w)] = channel < 0 ? int8_t(0) : l[channel];
      wide_sum += h[n + size_t(w)] * 256 + l[n + size_t(w)];
    }
    corrections[2 * row] = -128 * Isa::reduce_add_int(sum);
    corrections[2 * row + 1] = -128 * wide_sum;
    scales[row] = finite ? (max > kMinScale ? max / kMaxQuery : 0) * args.softmax_scale : __builtin_nanf("");
  }
};

// The two functions below are apart from their callers and unrolled by hand: GCC spills accumulators that share a
// function with anything else. N = 4 vectors; R rows of 24 or 12 chains.

// acc[r] = sum over channels of q[row + r] * k, for 4 vectors of keys. The high digits go first and are shifted, so
// that one set of accumulators serves both.
constexpr int kDotParts = 4 * kW / kPartSize;  // parts in 4 vectors
struct DotArgs {
  const int8_t *high, *low;       // digits of the first row
  size_t stride;                  // from one row's digits to the next
  const int32_t* corrections;     // [R, 2]
  const std::byte* codes[4];      // of each vector
  const std::byte* v[kDotParts];  // what is read after them: V of each part
  int quads;
};
template <int R, int N>
inline void pin_all(Isa::Int (&acc)[R][N]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) Isa::pin(acc[r][i]);
  }
}
template <int R>
inline void add_plane(Isa::Int (&acc)[R][4], const DotArgs& args, int plane, const int8_t* digits) {
  constexpr int kAhead = kDotParts / 2;  // half of the parts in each of the two planes
  const std::byte *v0 = args.v[plane * kAhead], *v1 = args.v[plane * kAhead + kAhead - 1];
  const std::byte *k0 = args.codes[0], *k1 = args.codes[1], *k2 = args.codes[2], *k3 = args.codes[3];
  const size_t end = size_t(args.quads) * 4 * kPartSize;
  for (size_t at = 0; at < end; at += 4 * kPartSize, digits += 4) {
    Isa::prefetch(v0 + at);
    if (kAhead > 1) Isa::prefetch(v1 + at);
    Isa::Int k[4] = {Isa::load(k0 + at), Isa::load(k1 + at), Isa::load(k2 + at), Isa::load(k3 + at)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) Isa::pin(k[i]);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Isa::Int x = Isa::broadcast(digits + size_t(r) * args.stride);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) acc[r][i] = Isa::dot_u8(acc[r][i], k[i], x);
    }
  }
  pin_all(acc);
}
template <int R>
inline void dot_rows(const DotArgs& args, Isa::Int (&acc)[R][4]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) acc[r][i] = Isa::zero();
  }
  pin_all(acc);
  add_plane<R>(acc, args, 0, args.high);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const Isa::Int start = Isa::set_int(args.corrections[2 * r]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) acc[r][i] = Isa::add(Isa::shift_left32(acc[r][i], 8), start);
  }
  pin_all(acc);
  add_plane<R>(acc, args, 1, args.low);
}

// 256 times the part of the wide channels' high digits.
template <int R>
__attribute__((noinline)) void score_wide(const DotArgs& args, float* out) {
  Isa::Int acc[R][4];
  dot_rows<R>(args, acc);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      Isa::store_float(out + (r * 4 + i) * kW, Isa::mul_float(Isa::to_float(acc[r][i]), Isa::set_float(256)));
    }
  }
}

struct ScoreArgs {
  DotArgs dot;
  const float* wide;         // [R, 4 vectors] of score_wide() or nullptr
  const float* k_scales[4];  // of each vector
  const float* q_scales;     // [R]
  const uint64_t* visible;   // [R]
  float* out;                // row r at r * kSplitKeys
};
template <int R>
__attribute__((noinline)) void score_keys(const ScoreArgs& args) {
  Isa::Int acc[R][4];
  dot_rows<R>(args.dot, acc);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    Isa::Float s[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      s[i] = Isa::to_float(acc[r][i]);
      if (args.wide != nullptr) s[i] = Isa::add_float(Isa::load_float(args.wide + (r * 4 + i) * kW), s[i]);
      s[i] = Isa::mul_float(s[i], Isa::load_float(args.k_scales[i]));
      s[i] = Isa::mul_float(s[i], Isa::set_float(args.q_scales[r]));
    }
    store_visible(args.visible[r], s, args.out + r * kSplitKeys);
  }
}

// Columns [column, column + N vectors) of acc[r] = sum over pages of unit[r] * (sum over the page's keys of code * v).
constexpr int kPartQuads = kPartSize / 4;
struct ValueArgs {
  const std::byte* v[kSplitPages][kPageParts];      // of the column
  const std::byte* ahead[kSplitPages][kPageParts];  // what is read after them
  size_t step;                                      // bytes from one quad of keys to the next
  int num_quads[kSplitPages];
  int num_pages;
  const uint8_t* codes;  // row r, page n at r * kSplitKeys + n * kPageSize
  const float* units;    // row r, page n at r * kSplitPages + n
  float* acc;
  size_t head_dim;
};
template <int R, int N>
__attribute__((noinline)) void add_values(const ValueArgs& args) {
  Isa::Float total[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) total[r][i] = Isa::zero_float();
  }
  for (int page = 0; page < args.num_pages; ++page) {
    Isa::Int acc[R][N];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < N; ++i) acc[r][i] = Isa::zero();
    }
    pin_all(acc);
    const uint8_t* codes = args.codes + page * kPageSize;
    for (int left = args.num_quads[page], part = 0; left > 0; left -= kPartQuads, ++part) {
      const std::byte *v = args.v[page][part], *ahead = args.ahead[page][part];
      for (int n = left < kPartQuads ? left : kPartQuads; n > 0; --n) {
        prefetch_lines<2 * N * kW>(ahead);
        Isa::Int x[N];
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) x[i] = Isa::load(v + 4 * i * kW), Isa::pin(x[i]);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const Isa::Int weights = Isa::broadcast(codes + r * kSplitKeys);
#pragma GCC unroll 4
          for (int i = 0; i < N; ++i) acc[r][i] = Isa::dot_u8(acc[r][i], weights, x[i]);
        }
        v += args.step, ahead += 2 * N * kW, codes += 4;
      }
    }
    pin_all(acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Isa::Float unit = Isa::set_float(args.units[r * kSplitPages + page]);
#pragma GCC unroll 4
      for (int i = 0; i < N; ++i) total[r][i] = Isa::fma(Isa::to_float(acc[r][i]), unit, total[r][i]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) Isa::store_float(args.acc + size_t(r) * args.head_dim + i * kW, total[r][i]);
  }
}

struct Q8Block {
  template <int R>
  static void score(const AttentionArgs& args, const QueryDigits& q, int row, const Page& page, float* scores) {
    const auto layout = kv_page_layout(KvType::q8, size_t(args.head_dim), size_t(args.wide.count));
    uint64_t visible[R];
    for (int r = 0; r < R; ++r) visible[r] = visible_keys(args, row + r, page.first_key);
    alignas(64) float wide[R * 4 * kW];
    const int8_t *high = q.high + size_t(row) * q.stride, *low = q.low + size_t(row) * q.stride;
    for (int key = 0; key < kPageSize; key += 4 * kW) {
      ScoreArgs keys{.dot = {high, low, q.stride, q.corrections + 2 * row, {}, {}, args.head_dim / 4},
                     .wide = args.wide.count > 0 ? wide : nullptr,
                     .k_scales = {},
                     .q_scales = q.scales + row,
                     .visible = visible,
                     .out = scores + key};
      for (int i = 0; i < 4; ++i) {
        const Part& part = page.parts[(key + i * kW) / kPartSize];
        const int of_part = (key + i * kW) % kPartSize;
        keys.dot.codes[i] = part.page + part.slot * q.stride + 4 * of_part;
        keys.k_scales[i] = reinterpret_cast<const float*>(part.page + layout.k_scales) + part.slot + of_part;
      }
      for (int i = 0; i < kDotParts; ++i) {
        const Part& part = page.parts[key / kPartSize + i];
        keys.dot.v[i] = part.page + layout.v + size_t(part.slot) * args.head_dim;
      }
      if (args.wide.count > 0) {
        DotArgs dot = keys.dot;
        dot.high += args.head_dim, dot.low += args.head_dim, ++dot.corrections;
        for (const std::byte*& codes : dot.codes) codes += kPartSize * args.head_dim;
        dot.quads = args.wide.count / 4;
        score_wide<R>(dot, wide);
      }
      score_keys<R>(keys);
      for (int r = 0; r < R; ++r) visible[r] = kW == 16 ? 0 : visible[r] >> (4 * kW);
    }
  }

  // p of a page, times the scales of V, in 8 bits; returns the float that one of its units stands for.
  static float quantize_weights(const float* p, const Page& page, size_t v_scales, uint8_t* codes) {
    Isa::Float weights[kPageSize / kW];
    Isa::Int max = Isa::zero();  // of the bits: the order of floats that are not negative, with NaN above all
    for (int i = 0; i < kPageSize / kW; ++i) {
      const Part& part = page.parts[i * kW / kPartSize];
      const float* scales = reinterpret_cast<const float*>(part.page + v_scales) + part.slot + i * kW % kPartSize;
      const Isa::Float x = Isa::load_float(p + i * kW);
      weights[i] = Isa::zero_below(x, Isa::set_float(__FLT_MIN__), Isa::mul_float(x, Isa::load_float(scales)));
      max = Isa::max_int(Isa::float_bits(weights[i]), max);
    }
    const int bits = Isa::reduce_max_int(max);
    float largest;
    memcpy(&largest, &bits, 4);
    const Isa::Float inverse = Isa::set_float(largest > kMinScale ? 255.0f / largest : 0);
    for (int i = 0; i < kPageSize / kW; ++i) {
      Isa::store_u8(codes + i * kW, Isa::to_int(Isa::mul_float(weights[i], inverse)));
    }
    return largest <= kMinScale ? 0 : largest / 255.0f;
  }

  // `q`: the rows in each rotation that a page of the split meets.
  template <int R>
  static __attribute__((noinline)) void run(const AttentionArgs& args, const QueryDigits* q, int row,
                                            const Split& split, const Partials& out) {
    alignas(64) float p[R][kSplitKeys];
    alignas(64) uint8_t codes[R][kSplitKeys];
    float units[R][kSplitPages];
    const auto layout = kv_page_layout(KvType::q8, out.head_dim, size_t(args.wide.count));
    for (int n = 0; n < split.count; ++n) {
      for (const Part& part : split.pages[n].ahead) {  // what the loops over K and V do not ask for
        const std::byte* codes = part.page + part.slot * q->stride;
        for (size_t at = kPartSize * out.head_dim; at < kPartSize * q->stride; at += 64) Isa::prefetch(codes + at);
        Isa::prefetch(part.page + layout.k_scales + 4 * size_t(part.slot));
        Isa::prefetch(part.page + layout.v_scales + 4 * size_t(part.slot));
      }
      score<R>(args, q[split.pages[n].chunk_distance], row, split.pages[n], p[0] + n * kPageSize);
    }
    for (int r = 0; r < R; ++r) {
      softmax_row(p[r], split.count * kPageSize, &out.max[row + r], &out.sum[row + r]);
      for (int n = 0; n < split.count; ++n) {
        units[r][n] = quantize_weights(p[r] + n * kPageSize, split.pages[n], layout.v_scales, codes[r] + n * kPageSize);
      }
    }
    ValueArgs values;
    values.step = 4 * out.head_dim;
    values.num_pages = split.count;
    values.head_dim = out.head_dim;
    for (int n = 0; n < split.count; ++n) {
      const int64_t left = position_of(args, row + R - 1) + 1 - split.pages[n].first_key;
      values.num_quads[n] = left <= 0 ? 0 : left < kPageSize ? int(left + 3) / 4 : kPageSize / 4;
    }
    // Half the rows at a time: integer and float accumulators side by side.
    constexpr int kFirst = (R + 1) / 2, kSecond = R / 2;
    for (int half = 0; half < 2; ++half) {
      const int r = half * kFirst;
      if (half == 1 && kSecond == 0) break;
      values.codes = codes[r];
      values.units = units[r];
      for (int column = 0; column < args.head_dim;) {
        const bool four = column + 4 * kW <= args.head_dim;
        for (int n = 0; n < split.count; ++n) {
          const Page& page = split.pages[n];
          for (int i = 0; i < kPageParts; ++i) {
            const Part &part = page.parts[i], &next = page.ahead[i];
            values.v[n][i] = part.page + layout.v + part.slot * out.head_dim + 4 * column;
            values.ahead[n][i] =
                next.page + next.slot * q->stride + kPartSize * column + (half == 0 ? 0 : 8 * kW * (four ? 4 : 1));
          }
        }
        values.acc = out.acc + size_t(row + r) * out.head_dim + column;
        if (half == 0) {
          four ? add_values<kFirst, 4>(values) : add_values<kFirst, 1>(values);
        } else {
          four ? add_values<(kSecond > 0 ? kSecond : 1), 4>(values)
               : add_values<(kSecond > 0 ? kSecond : 1), 1>(values);
        }
        column += four ? 4 * kW : kW;
      }
    }
  }
};

class Q8Attention {
 public:
  Q8Attention(const AttentionArgs& args, float* scratch) : args_(args) {
    const size_t floats = size_t(num_rows_of(args)) * q8_query_floats(size_t(args.head_dim), size_t(args.wide.count));
    for (int i = 0; i <= chunk_distance(args, 0); ++i) q_[i].set(args, i, scratch + size_t(i) * floats);
  }
  void attend(const Split& split, RowRange rows, const Partials& out) const {
    for_each_block(args_, split, rows, out, [&](int row, int count, const Split& pages) {
      run_block<Q8Block, kMaxRows>(count, args_, q_, row, pages, out);
    });
  }

 private:
  const AttentionArgs& args_;
  QueryDigits q_[kChunkDistances];
};

}  // namespace
}  // namespace qwin
