// SPDX-License-Identifier: Apache-2.0
// Which parts of what left the window a query reads: bounds on scores, pages first, then the parts of the best pages.
// Include after the ISA's vector type.
#pragma once

#include "kernels/x86/attention.h"

namespace qwin {
namespace {

// Query rows and bounds in groups of 16 lanes. For a page a lane is a channel; for its parts four lanes are a channel's
// four parts, and a row repeats each of its numbers four times.
struct BoundRows {
  const float* q;
  size_t q_stride;
  const uint16_t* positive;  // [rows, groups] lanes above 0: they meet hi, the others lo
  int groups;
};

template <int R>
inline void add_bounds(const BoundRows& rows, int row, const uint16_t* lo, const uint16_t* hi,
                       Isa::Float (&acc)[R][kLaneParts]) {
  for (auto& lanes : acc) {
    for (Isa::Float& part : lanes) part = Isa::zero_float();
  }
  for (int group = 0; group < rows.groups; ++group) {
#pragma GCC unroll 2
    for (int part = 0; part < kLaneParts; ++part) {
      const int at = group * 16 + part * kW;
      const Isa::Float low = Isa::load_half(lo + at), high = Isa::load_half(hi + at);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const uint32_t bits = uint32_t(rows.positive[size_t(row + r) * rows.groups + group]) >> (part * kW);
        const Isa::Float bound = Isa::select_bits(kW == 16 ? bits : bits & 0xff, high, low);
        acc[r][part] = Isa::fma(Isa::load_float(rows.q + size_t(row + r) * rows.q_stride + at), bound, acc[r][part]);
      }
    }
  }
}

// One page, or its four parts: scores of rows [row, row + R) go to out + row * out_stride.
struct BoundArgs {
  const BoundRows* rows;
  const uint16_t *lo, *hi;
  float softmax_scale;
  float* out;
  size_t out_stride;
};
struct PageBound {
  template <int R>
  static void run(const BoundArgs& args, int row) {
    Isa::Float acc[R][kLaneParts];
    add_bounds<R>(*args.rows, row, args.lo, args.hi, acc);
    for (int r = 0; r < R; ++r) args.out[size_t(row + r) * args.out_stride] = reduce_lanes(acc[r]) * args.softmax_scale;
  }
};
struct PartBounds {
  template <int R>
  static void run(const BoundArgs& args, int row) {
    Isa::Float acc[R][kLaneParts];
    add_bounds<R>(*args.rows, row, args.lo, args.hi, acc);
    for (int r = 0; r < R; ++r) {
      alignas(64) float lanes[16];
      for (int part = 0; part < kLaneParts; ++part) Isa::store_float(lanes + part * kW, acc[r][part]);
      float* out = args.out + size_t(row + r) * args.out_stride;
      for (int i = 0; i < 4; ++i) {
        out[i] = ((lanes[i] + lanes[8 + i]) + (lanes[4 + i] + lanes[12 + i])) * args.softmax_scale;
      }
    }
  }
};

template <typename Bound>
inline void bound_all_rows(const BoundArgs& args, int rows) {
  for (int row = 0; row < rows;) {
    const int count = rows - row < kMaxRows ? rows - row : kMaxRows;
    run_block<Bound>(count, args, row);
    row += count;
  }
}

class MemoryChooser {
 public:
  explicit MemoryChooser(const AttentionArgs& args) : args_(args), head_dim_(size_t(args.head_dim)) {
    const PageRange last = memory_pages(args, args.first_position + args.num_tokens - 1);
    const int64_t pages = last.end - last.begin, most = kPageParts * int64_t(args.memory.top_k);
    stride_ = size_t((pages > most ? pages : most) + 15) / 16 * 16;
    scores_ = args.scratch;
    ranks_ = scores_ + size_t(args.group) * stride_;
    repeated_ = ranks_ + stride_;
    positive_ = reinterpret_cast<uint16_t*>(repeated_ + size_t(args.group) * kPageParts * head_dim_);
    chosen_ = reinterpret_cast<int32_t*>(positive_ + size_t(args.group) * 2 * head_dim_);
  }

  void choose(int token, int32_t* parts) {
    const int top_k = args_.memory.top_k;
    const PageRange range = memory_pages(args_, args_.first_position + token);
    for (int i = 0; i < top_k; ++i) parts[i] = -1;
    if (range.begin == range.end) return;
    const int num_pages = choose_pages(token, range);
    const BoundRows rows{repeated_, kPageParts * head_dim_, positive_, int(head_dim_ / 4)};
    for (int i = 0, repeated = kChunkDistances; i < num_pages; ++i) {
      if (const int distance = chunk_distance(args_, chosen_[i] * int64_t(kPageSize)); distance != repeated) {
        for (int row = 0; row < args_.group; ++row) repeat(queries(token, distance) + size_t(row) * head_dim_, row);
        repeated = distance;
      }
      if (i + 1 < num_pages) prefetch_bounds(chosen_[i + 1], 2 * head_dim_, 4 * head_dim_);
      const uint16_t* lo = bounds(chosen_[i]) + 2 * head_dim_;
      bound_all_rows<PartBounds>(
          {&rows, lo, lo + kPageParts * head_dim_, args_.softmax_scale, scores_ + i * kPageParts, stride_},
          args_.group);
    }
    const int num_parts = num_pages * kPageParts;
    const int count = choose_first(num_parts, parts);
    for (int i = 0; i < count; ++i) parts[i] = chosen_[parts[i] / kPageParts] * kPageParts + parts[i] % kPageParts;
  }

 private:
  const uint16_t* bounds(int64_t page) const {
    return reinterpret_cast<const uint16_t*>(page_data(args_, page) + args_.bounds);
  }
  void prefetch_bounds(int64_t page, size_t first, size_t count) const {
    for (size_t at = first; at < first + 2 * count; at += 32) Isa::prefetch(bounds(page) + at);
  }

  const float* queries(int token, int distance) const {
    return queries_at(args_, distance) + size_t(token) * args_.q_stride;
  }

  // Into chosen_, in order; returns how many.
  int choose_pages(int token, PageRange range) {
    const int count = int(range.end - range.begin), top_k = args_.memory.top_k;
    if (count <= top_k) {
      for (int i = 0; i < count; ++i) chosen_[i] = int32_t(range.begin) + i;
      return count;
    }
    BoundRows rows{nullptr, head_dim_, positive_, int(head_dim_ / 16)};
    for (int i = 0; i < count; ++i) {
      const float* q = queries(token, chunk_distance(args_, (range.begin + i) * kPageSize));
      for (int row = 0; q != rows.q && row < args_.group; ++row) {
        mark_positive(q + size_t(row) * head_dim_, head_dim_, positive_ + size_t(row) * (head_dim_ / 16));
      }
      rows.q = q;
      if (i + 2 < count) prefetch_bounds(range.begin + i + 2, 0, head_dim_);
      const uint16_t* lo = bounds(range.begin + i);
      bound_all_rows<PageBound>({&rows, lo, lo + head_dim_, args_.softmax_scale, scores_ + i, stride_}, args_.group);
    }
    choose_first(count, chosen_);
    for (int i = 0; i < top_k; ++i) chosen_[i] += int32_t(range.begin);
    return top_k;
  }

  static void mark_positive(const float* q, size_t n, uint16_t* positive) {
    for (size_t at = 0; at < n; at += 16) {
      uint32_t bits = 0;
      for (int part = 0; part < kLaneParts; ++part) {
        bits |= Isa::greater_bits(Isa::load_float(q + at + size_t(part) * kW), Isa::zero_float()) << (part * kW);
      }
      positive[at / 16] = uint16_t(bits);
    }
  }
  void repeat(const float* q, int row) {
    float* to = repeated_ + size_t(row) * kPageParts * head_dim_;
    for (size_t i = 0; i < kPageParts * head_dim_; ++i) to[i] = q[i / kPageParts];
    mark_positive(to, kPageParts * head_dim_, positive_ + size_t(row) * (head_dim_ / 4));
  }

  // Ranks scores_ [group, count] and writes the places of the top_k first, in order; returns how many.
  int choose_first(int count, int32_t* places) {
    const int top_k = args_.memory.top_k, padded = (count + 15) / 16 * 16;
    if (count <= top_k) {
      for (int i = 0; i < count; ++i) places[i] = i;
      return count;
    }
    for (int i = 0; i < padded; ++i) ranks_[i] = 0;
    for (int row = 0; row < args_.group; ++row) {
      float *p = scores_ + size_t(row) * stride_, max, sum;
      for (int i = count; i < padded; ++i) p[i] = kMinusInfinity;
      softmax_row(p, padded, &max, &sum);
      const Isa::Float inverse = Isa::set_float(1.0f / sum);
      for (int i = 0; i < padded; i += kW) {
        const Isa::Float share = Isa::mul_float(Isa::load_float(p + i), inverse);
        Isa::store_float(ranks_ + i, Isa::max(share, Isa::load_float(ranks_ + i)));
      }
    }
    const float limit = rank_of_place(padded, top_k);
    int equals = top_k - count_above(padded, limit), skipped = 0;
    for (int i = 0; i < count; ++i) skipped += ranks_[i] == limit;
    skipped -= equals;  // of equals the later ones go first
    int chosen = 0;
    for (int i = 0; i < count && chosen < top_k; ++i) {
      if (ranks_[i] > limit || (ranks_[i] == limit && skipped-- <= 0)) places[chosen++] = i;
    }
    return chosen;
  }
  int count_above(int padded, float limit) const {
    int count = 0;
    for (int i = 0; i < padded; i += kW) {
      count += __builtin_popcount(Isa::greater_bits(Isa::load_float(ranks_ + i), Isa::set_float(limit)));
    }
    return count;
  }
  // The place-th largest rank: the least that fewer are above of. Ranks are 0 … 1, in the order of their bits.
  float rank_of_place(int padded, int place) const {
    uint32_t low = 0, high = 0x3f800000;
    const auto value = [](uint32_t bits) {
      float x;
      memcpy(&x, &bits, 4);
      return x;
    };
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      count_above(padded, value(middle)) < place ? high = middle : low = middle + 1;
    }
    return value(low);
  }

  const AttentionArgs& args_;
  const size_t head_dim_;
  size_t stride_;
  float* scores_;       // [group, stride] of pages, then of parts
  float* ranks_;        // [stride]
  float* repeated_;     // [group, head_dim, 4]
  uint16_t* positive_;  // [group, head_dim / 4] at most
  int32_t* chosen_;     // [top_k] pages
};

void choose_memory(const AttentionArgs& args, int32_t* parts) {
  MemoryChooser chooser(args);
  for (int token = 0; token < args.num_tokens; ++token) {
    chooser.choose(token, parts + size_t(token) * args.memory.top_k);
  }
}

}  // namespace
}  // namespace qwin
