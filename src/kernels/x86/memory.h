// SPDX-License-Identifier: Apache-2.0
// Which parts of what left the window a query reads: bounds on scores, pages first, then the parts of the best pages.
// Include after the ISA's vector type.
#pragma once

#include "kernels/x86/attention.h"

namespace qwin {
namespace {

// Pages and query rows that meet at a time: bounds are widened once for all rows, and a row's numbers and signs are
// read once for all pages. 2 x 8 accumulators of 32 registers, 4 x 2 of 16.
constexpr int kBoundPages = kW == 16 ? 2 : 1;
constexpr int kBoundRows = kW == 16 ? 8 : 4;

// Query rows that meet the bounds of a list of pages, 16 lanes at a time. For a page a lane is a channel; for its parts
// four lanes are a channel's four parts, and a row repeats each of its numbers four times.
struct BoundArgs {
  const float* q;            // [groups, rows, 16]
  const uint16_t* positive;  // [groups, rows] lanes above 0: they meet hi, the others lo
  int groups, rows;
  const int32_t* pages;  // [num_pages]
  int num_pages;
  float* out;  // row r, page i: kScores at r * out_stride + i * kScores
  size_t out_stride;
};

template <int R>
using BoundSums = Isa::Float[R][kBoundPages][kLaneParts];

// Of one page, or two; hi lies 16 * groups behind lo.
template <int R>
inline void add_bounds(const BoundArgs& args, int row, const uint16_t* const (&lo)[kBoundPages], BoundSums<R>& sums) {
#pragma GCC unroll 8
  for (auto& pages : sums) {
#pragma GCC unroll 2
    for (auto& lanes : pages) {
#pragma GCC unroll 2
      for (Isa::Float& part : lanes) part = Isa::zero_float();
    }
  }
  const float* q = args.q + size_t(row) * 16;
  const uint16_t* positive = args.positive + row;
  const size_t end = size_t(args.groups) * 16;
  for (size_t group = 0; group < end; group += 16) {
#pragma GCC unroll 2
    for (int part = 0; part < kLaneParts; ++part) {
      Isa::Float low[kBoundPages], high[kBoundPages];
#pragma GCC unroll 2
      for (int page = 0; page < kBoundPages; ++page) {
        low[page] = Isa::load_half(lo[page] + group + part * kW);
        high[page] = Isa::load_half(lo[page] + end + group + part * kW);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const uint32_t bits = uint32_t(positive[r]) >> (part * kW);
        Isa::Float x = Isa::load_float(q + r * 16 + part * kW);
        if (kBoundPages > 1) Isa::pin(x);  // else it is loaded for each page
#pragma GCC unroll 2
        for (int page = 0; page < kBoundPages; ++page) {
          const Isa::Float bound = Isa::select_bits(kW == 16 ? bits : bits & 0xff, high[page], low[page]);
          sums[r][page][part] = Isa::fma(x, bound, sums[r][page][part]);
        }
      }
    }
    q += size_t(args.rows) * 16, positive += args.rows;
  }
}

// The bounds of pages.
struct PageBounds {
  static constexpr size_t kScores = 1;  // of a page

  // Four sums at a time, each in the order of reduce_lanes().
  template <int R>
  static void store(const BoundSums<R>& sums, float scale, float* const (&out)[kBoundPages], size_t stride) {
    constexpr int kCount = R * kBoundPages;
    alignas(16) float scores[(kCount + 3) / 4 * 4];
#pragma GCC unroll 4
    for (int i = 0; i < kCount; i += 4) {
      __m128 a[4];
#pragma GCC unroll 4
      for (int n = 0; n < 4; ++n) a[n] = fold_lanes(sums[(i + n) % kCount / kBoundPages][(i + n) % kBoundPages]);
      const __m128 low = _mm_add_ps(_mm_movelh_ps(a[0], a[1]), _mm_shuffle_ps(a[0], a[1], 0xee));
      const __m128 high = _mm_add_ps(_mm_movelh_ps(a[2], a[3]), _mm_shuffle_ps(a[2], a[3], 0xee));
      const __m128 sum = _mm_add_ps(_mm_shuffle_ps(low, high, 0x88), _mm_shuffle_ps(low, high, 0xdd));
      _mm_store_ps(scores + i, _mm_mul_ps(sum, _mm_set1_ps(scale)));
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int page = 0; page < kBoundPages; ++page) out[page][size_t(r) * stride] = scores[r * kBoundPages + page];
    }
  }
};

// The bounds of their parts, four side by side.
struct PartBounds {
  static constexpr size_t kScores = kPageParts;

  template <int R>
  static void store(const BoundSums<R>& sums, float scale, float* const (&out)[kBoundPages], size_t stride) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int page = 0; page < kBoundPages; ++page) {
        _mm_storeu_ps(out[page] + size_t(r) * stride, _mm_mul_ps(fold_lanes(sums[r][page]), _mm_set1_ps(scale)));
      }
    }
  }
};

// Rows [row, row + R) and all pages.
template <typename Kind>
struct BoundRows {
  template <int R>
  static __attribute__((noinline)) void run(const AttentionArgs& args, const BoundArgs& bound, int row) {
    const size_t first = Kind::kScores == 1 ? 0 : 2 * size_t(args.head_dim);  // of the parts: behind the page's
    const auto bounds = [&](int i) {
      return reinterpret_cast<const uint16_t*>(page_data(args, bound.pages[i]) + args.bounds) + first;
    };
    // The n-th of the pages that meet from the i-th on: the last one may stand there twice.
    const auto page_of = [&](int i, int n) { return i + n < bound.num_pages ? i + n : i; };
    const size_t end = size_t(bound.groups) * 32;
    const uint16_t *lo[kBoundPages], *next[kBoundPages];
    for (int n = 0; n < kBoundPages; ++n) next[n] = bounds(page_of(0, n));
    for (int i = 0; i < bound.num_pages; i += kBoundPages) {
      float* to[kBoundPages];
      for (int n = 0; n < kBoundPages; ++n) {
        to[n] = bound.out + size_t(row) * bound.out_stride + size_t(page_of(i, n)) * Kind::kScores;
        lo[n] = next[n];
        if (i + kBoundPages < bound.num_pages) next[n] = bounds(page_of(i + kBoundPages, n));
        for (size_t at = 0; at < end; at += 32) Isa::prefetch(next[n] + at);
      }
      BoundSums<R> sums;
      add_bounds<R>(bound, row, lo, sums);
      Kind::template store<R>(sums, args.softmax_scale, to, bound.out_stride);
    }
  }
};

class MemoryChooser {
 public:
  explicit MemoryChooser(const AttentionArgs& args) : args_(args), head_dim_(size_t(args.head_dim)) {
    const PageRange last = memory_pages(args, args.first_position + args.num_tokens - 1);
    const int64_t pages = last.end - last.begin, most = kPageParts * int64_t(args.memory.top_k);
    stride_ = size_t((pages > most ? pages : most) + 15) / 16 * 16;
    scores_ = args.scratch;
    ranks_ = scores_ + size_t(args.group) * stride_;
    rows_ = ranks_ + stride_;
    positive_ = reinterpret_cast<uint16_t*>(rows_ + size_t(args.group) * kPageParts * head_dim_);
    pages_ = reinterpret_cast<int32_t*>(positive_ + size_t(args.group) * 2 * head_dim_);
    places_ = pages_ + stride_;
  }

  void choose(int token, int32_t* parts) {
    const int top_k = args_.memory.top_k;
    const PageRange range = memory_pages(args_, args_.first_position + token);
    for (int i = 0; i < top_k; ++i) parts[i] = -1;
    if (range.begin == range.end) return;
    const int num_pages = choose_pages(token, range);
    bound_pages<PartBounds>(token, num_pages);
    const int count = choose_first(top_k, num_pages * kPageParts);
    for (int i = 0; i < count; ++i) {
      const uint32_t place = uint32_t(places_[i]);
      parts[i] = pages_[place / kPageParts] * kPageParts + int32_t(place % kPageParts);
    }
  }

 private:
  // Into pages_, in order; returns how many.
  int choose_pages(int token, PageRange range) {
    const int count = int(range.end - range.begin), most = args_.memory.top_k;
    for (int i = 0; i < count; ++i) pages_[i] = int32_t(range.begin) + i;
    if (count <= most) return count;
    bound_pages<PageBounds>(token, count);
    choose_first(most, count);
    for (int i = 0; i < most; ++i) pages_[i] = int32_t(range.begin) + places_[i];
    return most;
  }

  // Kind's scores of pages_[0 … count - 1], into scores_.
  template <typename Kind>
  void bound_pages(int token, int count) {
    for (int begin = 0, end = 0; begin < count; begin = end) {
      const int distance = distance_of(pages_[begin]);  // pages of one meet the same rotation of the queries
      while (end < count && distance_of(pages_[end]) == distance) ++end;
      set_rows<Kind::kScores>(queries_at(args_, distance) + size_t(token) * args_.q_stride);
      const BoundArgs bound{rows_,          positive_,   int(Kind::kScores * head_dim_ / 16),     args_.group,
                            pages_ + begin, end - begin, scores_ + size_t(begin) * Kind::kScores, stride_};
      for (int row = 0; row < args_.group; row += kBoundRows) {
        const int rows = args_.group - row < kBoundRows ? args_.group - row : kBoundRows;
        run_block<BoundRows<Kind>, kBoundRows>(rows, args_, bound, row);
      }
    }
  }
  int distance_of(int64_t page) const { return chunk_distance(args_, page * kPageSize); }

  // The query heads, each number kScores times.
  template <size_t kScores>
  void set_rows(const float* q) {
    const size_t rows = size_t(args_.group);
    for (size_t row = 0; row < rows; ++row, q += head_dim_) {
      for (size_t group = 0; group < kScores * head_dim_ / 16; ++group) {
        float* to = rows_ + (group * rows + row) * 16;
        const float* from = q + group * 16 / kScores;
        for (size_t i = 0; i < 16; i += 4) {
          _mm_storeu_ps(to + i, kScores == 1 ? _mm_loadu_ps(from + i) : _mm_set1_ps(from[i / kScores]));
        }
        uint32_t bits = 0;
        for (int part = 0; part < kLaneParts; ++part) {
          bits |= Isa::greater_bits(Isa::load_float(to + part * kW), Isa::zero_float()) << (part * kW);
        }
        positive_[group * rows + row] = uint16_t(bits);
      }
    }
  }

  // Ranks scores_ [group, count] and writes the places of the first `most`, in order, to places_; returns how many.
  int choose_first(int most, int count) {
    const int padded = (count + 15) / 16 * 16;
    if (count <= most) {
      for (int i = 0; i < count; ++i) places_[i] = i;
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
    const float limit = rank_of_place(padded, most);
    for (int i = count; i < padded; ++i) ranks_[i] = -1;
    int surplus = count_above(padded, limit) - most;  // of those that equal the limit, which go the earlier ones first
    for (int i = 0; i < padded; i += kW) {
      surplus += __builtin_popcount(Isa::equal_bits(Isa::load_float(ranks_ + i), Isa::set_float(limit)));
    }
    int32_t* to = places_;
    for (int i = 0; i < padded; i += kW) {
      const Isa::Float ranks = Isa::load_float(ranks_ + i);
      uint32_t equal = Isa::equal_bits(ranks, Isa::set_float(limit));
      for (; surplus > 0 && equal != 0; --surplus) equal &= equal - 1;
      to += Isa::store_places(to, i, Isa::greater_bits(ranks, Isa::set_float(limit)) | equal);
    }
    return most;
  }
  int count_above(int padded, float limit) const {
    int count = 0;
    for (int i = 0; i < padded; i += kW) {
      count += __builtin_popcount(Isa::greater_bits(Isa::load_float(ranks_ + i), Isa::set_float(limit)));
    }
    return count;
  }
  // A number that `place` ranks lie above, or the place-th largest where equal ranks leave none. Ranks are 0 … 1, in
  // the order of their bits.
  float rank_of_place(int padded, int place) const {
    uint32_t low = 0, high = 0x3f800000;
    const auto value = [](uint32_t bits) {
      float x;
      memcpy(&x, &bits, 4);
      return x;
    };
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      const int above = count_above(padded, value(middle));
      if (above == place) return value(middle);
      above < place ? high = middle : low = middle + 1;
    }
    return value(low);
  }

  const AttentionArgs& args_;
  const size_t head_dim_;
  size_t stride_;
  float* scores_;       // [group, stride] of pages, then of parts
  float* ranks_;        // [stride]
  float* rows_;         // [head_dim / 16 or / 4, group, 16]
  uint16_t* positive_;  // [head_dim / 16 or / 4, group]
  int32_t* pages_;      // [stride] that may be looked into, then those that are
  int32_t* places_;     // [stride + 16] of what was chosen
};

void choose_memory(const AttentionArgs& args, int32_t* parts) {
  MemoryChooser chooser(args);
  for (int token = 0; token < args.num_tokens; ++token) {
    chooser.choose(token, parts + size_t(token) * args.memory.top_k);
  }
}

}  // namespace
}  // namespace qwin
