// SPDX-License-Identifier: Apache-2.0
// Which parts of what left the window a query reads: bounds on the scores of all of them, then their ranks.
// Include after the ISA's vector type.
#pragma once

#include "kernels/x86/attention.h"
#include "kernels/x86/q8_rows.h"

namespace qwin {
namespace {

// Pages and query rows that meet at a time: a row's codes are read once for all pages, a page's bounds once for all
// rows. 2 x 8 accumulators of 32 registers, 1 x 8 of 16.
constexpr int kBoundPages = kW == 16 ? 2 : 1;
constexpr int kBoundRows = 8;
constexpr int kVectorRows = kW / kPageParts;  // rows whose scores of a page fill a vector

// Query rows as bounds meet them. A lane is a part's two channels (of 8 bits) or one (of 16), each a pair of numbers:
// |code| on the side that bounds it, the largest key's if it is above 0, and 0 on the other.
struct BoundQueries {
  int32_t* codes;  // [blocks, rows, kW]
  float* units;    // [rows, 4] and as many as fill a vector
  int blocks;
};
struct BoundArgs {
  BoundQueries narrow, wide;
  int rows;
  int64_t first_page;
  int num_pages;
  float* out;  // row r, page i: 4 scores at r * out_stride + 4 * i; one page more may be written
  size_t out_stride;
};

struct NarrowBounds {
  // Without VNNI, two products are added up in 16 bits: one of them is 0.
  static Isa::Int dot(Isa::Int acc, Isa::Int query, Isa::Int bounds) { return Isa::dot_u6(acc, query, bounds); }
  static Isa::Float add(Isa::Float, Isa::Float sums, Isa::Float unit) { return Isa::mul_float(sums, unit); }
};
struct WideBounds {
  static Isa::Int dot(Isa::Int acc, Isa::Int query, Isa::Int bounds) { return Isa::dot_16(acc, query, bounds); }
  static Isa::Float add(Isa::Float scores, Isa::Float sums, Isa::Float unit) { return Isa::fma(sums, unit, scores); }
};

// Rows [row, row + R) and all pages.
struct BoundRows {
  template <int R>
  static __attribute__((noinline)) void run(const AttentionArgs& args, const BoundArgs& bound, int row) {
    const KeyBoundsLayout layout = key_bounds_layout(size_t(args.head_dim), size_t(args.wide.in_bounds));
    const auto bounds = [&](int i) { return page_data(args, bound.first_page + i) + args.bounds; };
    const std::byte *pages[kBoundPages], *next[kBoundPages];
    const auto look_at = [&](int i) {  // the last page may stand there twice, the second time for nobody
      for (int n = 0; n < kBoundPages; ++n) next[n] = bounds(i + n < bound.num_pages ? i + n : i);
    };
    look_at(0);
    float* out = bound.out + size_t(row) * bound.out_stride;
    for (int i = 0; i < bound.num_pages; i += kBoundPages, out += kBoundPages * kPageParts) {
      for (int n = 0; n < kBoundPages; ++n) pages[n] = next[n];
      if (i + kBoundPages < bound.num_pages) look_at(i + kBoundPages);
      for (const std::byte* page : next) {
        for (size_t at = 0; at < layout.bytes; at += 64) Isa::prefetch(page + at);
      }
      Scores<R> scores;
      add<NarrowBounds, R>(bound, bound.narrow, row, pages, 0, layout.scales, scores);
      if (bound.wide.blocks > 0) {
        add<WideBounds, R>(bound, bound.wide, row, pages, layout.wide, layout.scales + 4 * kPageParts, scores);
      }
#pragma GCC unroll 2
      for (int page = 0; page < kBoundPages; ++page) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          _mm_storeu_ps(out + size_t(r) * bound.out_stride + page * kPageParts,
                        Isa::quarter(scores[page][r / kVectorRows], r % kVectorRows));
        }
      }
    }
  }

 private:
  // Of a page and so many rows side by side: [page][R / kVectorRows][kVectorRows, 4]
  template <int R>
  using Scores = Isa::Float[kBoundPages][(R + kVectorRows - 1) / kVectorRows];

  template <typename Kind, int R>
  static void add(const BoundArgs& bound, const BoundQueries& query, int row,
                  const std::byte* const (&pages)[kBoundPages], size_t codes_at, size_t scales_at, Scores<R>& scores) {
    Isa::Int sums[R][kBoundPages];
#pragma GCC unroll 8
    for (auto& of_row : sums) {
#pragma GCC unroll 2
      for (Isa::Int& sum : of_row) sum = Isa::zero();
    }
    const int32_t* codes = query.codes + size_t(row) * kW;
    for (int block = 0; block < query.blocks; ++block, codes += size_t(bound.rows) * kW) {
      Isa::Int bounds[kBoundPages];
#pragma GCC unroll 2
      for (int page = 0; page < kBoundPages; ++page) {
        bounds[page] = Isa::load(pages[page] + codes_at + size_t(block) * 4 * kW);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        Isa::Int x = Isa::load(codes + r * kW);
        if (kBoundPages > 1) Isa::pin(x);  // else it is loaded for each page
#pragma GCC unroll 2
        for (int page = 0; page < kBoundPages; ++page) sums[r][page] = Kind::dot(sums[r][page], x, bounds[page]);
      }
    }
    const float* units = query.units + size_t(row) * kPageParts;
#pragma GCC unroll 2
    for (int page = 0; page < kBoundPages; ++page) {
      const Isa::Float scales = Isa::repeat_quarter(reinterpret_cast<const float*>(pages[page] + scales_at));
#pragma GCC unroll 4
      for (int r = 0; r < R; r += kVectorRows) {
        Isa::Int rows[kVectorRows];
#pragma GCC unroll 4
        for (int i = 0; i < kVectorRows; ++i) rows[i] = sums[r + i < R ? r + i : R - 1][page];
        const Isa::Float of_parts = Isa::mul_float(Isa::to_float(Isa::fold_rows(rows)), scales);
        Isa::Float& to = scores[page][r / kVectorRows];
        to = Kind::add(to, of_parts, Isa::load_float(units + r * kPageParts));
      }
    }
  }
};

class MemoryChooser {
 public:
  explicit MemoryChooser(const AttentionArgs& args) : args_(args), head_dim_(size_t(args.head_dim)) {
    const PageRange last = memory_pages(args, args.first_position + args.num_tokens - 1);
    const size_t group = size_t(args.group), num_wide = size_t(args.wide.in_bounds);
    stride_ = (kPageParts * size_t(last.end - last.begin + 1) + 15) / 16 * 16;
    scores_ = args.scratch;
    ranks_ = scores_ + group * stride_;
    places_ = reinterpret_cast<int32_t*>(ranks_ + stride_);
    narrow_.codes = places_ + stride_ + 16;
    narrow_.blocks = int(kPageParts * head_dim_ / 2 / kW);
    wide_.codes = narrow_.codes + group * kPageParts * head_dim_ / 2;
    wide_.blocks = int(kPageParts * num_wide / kW);
    narrow_.units = reinterpret_cast<float*>(wide_.codes + group * kPageParts * num_wide);
    wide_.units = narrow_.units + (group + kVectorRows) * kPageParts;
  }

  void choose(int token, int32_t* parts) {
    const int top_k = args_.memory.top_k;
    const PageRange range = memory_pages(args_, args_.first_position + token);
    const int count = int(range.end - range.begin) * kPageParts, first = int(range.begin) * kPageParts;
    if (count <= top_k) {
      for (int i = 0; i < top_k; ++i) parts[i] = i < count ? first + i : -1;
      return;
    }
    bound_pages(token, range);
    choose_first(top_k, count);
    for (int i = 0; i < top_k; ++i) parts[i] = first + places_[i];
  }

 private:
  // The scores of all parts of these pages, into scores_.
  void bound_pages(int token, PageRange range) {
    for (int64_t begin = range.begin, end = begin; begin < range.end; begin = end) {
      const int distance = distance_of(begin);  // pages of one meet the same rotation of the queries
      while (end < range.end && distance_of(end) == distance) ++end;
      const float* q = queries_at(args_, distance) + size_t(token) * args_.q_stride;
      for (int row = 0; row < args_.group; ++row) set_row(q + size_t(row) * head_dim_, row);
      const BoundArgs bound{
          narrow_, wide_, args_.group, begin, int(end - begin), scores_ + size_t(begin - range.begin) * kPageParts,
          stride_};
      for (int row = 0; row < args_.group; row += kBoundRows) {
        const int rows = args_.group - row < kBoundRows ? args_.group - row : kBoundRows;
        run_block<BoundRows, kBoundRows>(rows, args_, bound, row);
      }
    }
  }
  int distance_of(int64_t page) const { return chunk_distance(args_, page * kPageSize); }

  // A query head's codes, in the lanes of every part.
  void set_row(const float* q, int row) {
    const WideChannels& wide = args_.wide;
    float narrow[kMaxHeadDim], apart[kMaxHeadDim] = {};
    memcpy(narrow, q, head_dim_ * sizeof(float));
    for (int i = 0; i < wide.in_bounds; ++i) {
      if (wide.channels[i] < 0) continue;
      apart[i] = q[wide.channels[i]];
      narrow[wide.channels[i]] = 0;
    }
    const bool finite = all_finite(q, head_dim_);
    int32_t codes[kMaxHeadDim];
    set_units(narrow_, row, quantize_row(narrow, head_dim_, kMaxNarrowQuery, finite, codes));
    for (size_t pair = 0; pair < head_dim_ / 2; ++pair) {
      const int32_t lane = sided(codes[2 * pair], 8) | sided(codes[2 * pair + 1], 8) << 16;
      set_lanes(narrow_, row, pair, lane);
    }
    if (wide.in_bounds == 0) return;
    const int limit = max_wide_query(wide.in_bounds);
    set_units(wide_, row, quantize_row(apart, size_t(wide.in_bounds + kW - 1) / kW * kW, limit, finite, codes));
    for (int i = 0; i < wide.in_bounds; ++i) set_lanes(wide_, row, size_t(i), sided(codes[i], 16));
  }
  static constexpr size_t kMaxHeadDim = 256;

  // The pair of |code| and 0, of so many bits each.
  static int32_t sided(int32_t code, int bits) { return code > 0 ? code : -code << bits; }

  void set_lanes(const BoundQueries& to, int row, size_t i, int32_t lane) const {
    const size_t at = i * kPageParts;
    int32_t* const lanes = to.codes + (at / kW * size_t(args_.group) + size_t(row)) * kW + at % kW;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes), _mm_set1_epi32(lane));
  }

  static void set_units(const BoundQueries& to, int row, float unit) {
    _mm_storeu_ps(to.units + row * kPageParts, _mm_set1_ps(unit));
  }

  // codes [n]; returns the score of a unit of theirs with a bound of 1.
  float quantize_row(const float* x, size_t n, int limit, bool finite, int32_t* codes) const {
    const float max = finite ? largest_magnitude(x, n) : 0;
    const Isa::Float inverse = Isa::set_float(max > kMinScale ? float(limit) / max : 0);
    for (size_t i = 0; i < n; i += kW) {
      Isa::store(codes + i, finite ? Isa::to_int(Isa::mul_float(Isa::load_float(x + i), inverse)) : Isa::zero());
    }
    return max > kMinScale ? max / float(limit) * args_.softmax_scale : 0;
  }

  // Ranks scores_ [group, count] and writes the places of the first `most`, in order, to places_. Requires: most <
  // count.
  void choose_first(int most, int count) {
    const int padded = (count + 15) / 16 * 16;
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
  float* scores_;    // [group, stride] of all parts
  float* ranks_;     // [stride]
  int32_t* places_;  // [stride + 16] of what was chosen
  BoundQueries narrow_, wide_;
};

void choose_memory(const AttentionArgs& args, int32_t* parts) {
  MemoryChooser chooser(args);
  for (int token = 0; token < args.num_tokens; ++token) {
    chooser.choose(token, parts + size_t(token) * args.memory.top_k);
  }
}

}  // namespace
}  // namespace qwin
