// SPDX-License-Identifier: Apache-2.0
// Paged attention over a vector type: splits, softmax and merging, which all KV types share. R query rows meet a page
// at a time; attention_float.h and attention_q8.h have the products. Include after the ISA's vector type.
#pragma once

#include "kernels/cpu_kernels.h"
#include "kernels/x86/float_order.h"

namespace qwin {
namespace {

constexpr int kW = Isa::kRows;              // floats a vector
constexpr int kMaxRows = kW == 16 ? 6 : 2;  // query rows at a time: 6 x 4 accumulators of 32 registers, 2 x 4 of 16
constexpr float kMinusInfinity = -__builtin_inff();

// 16 keys in the page that holds them.
struct Part {
  const std::byte* page;
  int slot;  // of the first
};
// A page of a split: one in place, or four parts of memory that are read as if they were one. The processor's own
// prefetcher stops at the end of each block of some KiB and finds no part of memory: kernels ask for what follows, the
// page's V while they read its K, the K of `ahead` while they read its V.
struct Page {
  Part parts[kPageParts];
  Part ahead[kPageParts];  // of the page in the same place of the next split, or `parts`
  int64_t first_key;       // position of key 0
  int chunk_distance;      // of all its keys
  bool in_place;
};
struct Split {
  Page pages[kSplitPages];
  int count;
};

inline const std::byte* page_data(const AttentionArgs& args, int64_t page) {
  return args.base + size_t(args.pages[page]) * args.page_stride;
}

inline Split split_at(const AttentionArgs& args, int64_t index) {
  const VisiblePages visible = visible_pages(args);
  Split split{};
  for (int64_t page = index * kSplitPages; page < (index + 1) * kSplitPages && page < visible.end; ++page) {
    if (page >= visible.sinks_end && page < visible.window_begin) continue;
    const std::byte* data = page_data(args, page);
    Page& to = split.pages[split.count++];
    for (int i = 0; i < kPageParts; ++i) to.parts[i] = to.ahead[i] = {data, i * kPartSize};
    to.first_key = page * kPageSize;
    to.chunk_distance = chunk_distance(args, page * kPageSize);
    to.in_place = true;
  }
  return split;
}

// The parts in the places [16 index, 16 index + 16) chosen for a token. A page of them takes the place of the last keys
// before the query, which every window shows.
inline Split memory_split_at(const AttentionArgs& args, int token, int index) {
  const int32_t* parts = args.parts + size_t(token) * args.memory.top_k;
  Split split{};
  int left = args.memory.top_k - index * kSplitParts;
  parts += index * kSplitParts;
  for (; split.count < kSplitPages && left > 0 && parts[0] >= 0; ++split.count, parts += kPageParts) {
    Page& page = split.pages[split.count];
    int count = 0;
    for (; count < kPageParts && count < left && parts[count] >= 0; ++count) {
      page.parts[count] = {page_data(args, parts[count] / kPageParts), parts[count] % kPageParts * kPartSize};
    }
    for (int i = count; i < kPageParts; ++i) page.parts[i] = page.parts[0];
    for (int i = 0; i < kPageParts; ++i) page.ahead[i] = page.parts[i];
    page.first_key = args.first_position + token + 1 - count * kPartSize;
    page.chunk_distance = chunk_distance(args, int64_t(parts[0]) * kPartSize);
    left -= kPageParts;
  }
  return split;
}

// `split` is to ask for what `next` reads.
inline void look_ahead(Split& split, const Split& next) {
  for (int n = 0; n < split.count && n < next.count; ++n) {
    for (int i = 0; i < kPageParts; ++i) split.pages[n].ahead[i] = next.pages[n].parts[i];
  }
}

// Asks for the 64-byte lines of a run.
template <int kBytes>
inline void prefetch_lines(const std::byte* p) {
#pragma GCC unroll 8
  for (int i = 0; i < kBytes; i += 64) Isa::prefetch(p + i);
}

// The results of the rows of a call, laid out as partial_floats() says.
struct Partials {
  Partials(const AttentionArgs& args, float* floats)
      : head_dim(size_t(args.head_dim)),
        acc(floats),
        max(floats + size_t(args.num_tokens) * args.group * head_dim),
        sum(max + args.num_tokens * args.group) {}
  size_t head_dim;
  float* acc;  // [rows, head_dim]
  float* max;  // [rows]
  float* sum;  // [rows]
};

inline int num_rows_of(const AttentionArgs& args) { return args.num_tokens * args.group; }
inline int64_t position_of(const AttentionArgs& args, int row) { return args.first_position + row / args.group; }
inline const float* query_of(const AttentionArgs& args, int row, int distance) {
  return queries_at(args, distance) + size_t(row / args.group) * args.q_stride +
         size_t(row % args.group) * args.head_dim;
}

// Bit j: key `first_key + j` is visible to the row.
inline uint64_t visible_keys(const AttentionArgs& args, int row, int64_t first_key) {
  const int64_t query = position_of(args, row);
  const auto below = [](int64_t n) { return n <= 0 ? uint64_t{0} : n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; };
  const uint64_t keys = below(query - first_key + 1);
  return keys & (~below(window_begin(args, query) - first_key) | below(args.num_sinks - first_key));
}

// Keeps the scores of 4 vectors of keys that the row sees; the others become -infinity.
inline void store_visible(uint64_t visible, const Isa::Float (&scores)[4], float* out) {
  for (int i = 0; i < 4; ++i) {
    const auto bits = uint32_t(visible >> (i * kW)) & (kW == 16 ? 0xffffu : 0xffu);
    Isa::store_float(out + i * kW, Isa::select_bits(bits, scores[i], Isa::set_float(kMinusInfinity)));
  }
}

// Scores become p = exp(score - maximum).
inline void softmax_row(float* p, int num_keys, float* row_max, float* row_sum) {
  Isa::Float max = Isa::set_float(kMinusInfinity);
  for (int j = 0; j < num_keys; j += kW) max = Isa::max(Isa::load_float(p + j), max);  // a NaN score is passed over
  *row_max = Isa::reduce_max(max);
  // A row that sees no key of the split: -infinity stays -infinity, p is 0.
  const Isa::Float shift = Isa::set_float(*row_max == kMinusInfinity ? 0.0f : -*row_max);
  Isa::Float lanes[kLaneParts];
  for (auto& part : lanes) part = Isa::zero_float();
  for (int j = 0; j < num_keys; j += kW) {
    const Isa::Float e = exp_vector(Isa::add_float(Isa::load_float(p + j), shift));
    Isa::store_float(p + j, e);
    Isa::Float& part = lanes[j / kW % kLaneParts];
    part = Isa::add_float(part, e);
  }
  *row_sum = reduce_lanes(lanes);
}

// Adds `from` to `into`, as many rows at a time as a vector has lanes.
inline void merge_rows(const AttentionArgs& args, const Partials& from, const Partials& into) {
  const int rows = num_rows_of(args);
  for (int first = 0; first < rows; first += kW) {
    const size_t count = size_t(rows - first < kW ? rows - first : kW);
    const Isa::Float a = Isa::load_partial(into.max + first, count), b = Isa::load_partial(from.max + first, count);
    const Isa::Float max = Isa::max(a, b);
    alignas(64) float maxima[kW], keep[kW], weights[kW];
    Isa::store_float(maxima, max);
    Isa::store_float(keep, exp_vector(Isa::sub_float(a, max)));
    Isa::store_float(weights, exp_vector(Isa::sub_float(b, max)));
    for (size_t i = 0; i < count; ++i) {
      const size_t row = size_t(first) + i;
      const Isa::Float keep_all = Isa::set_float(keep[i]), weight_all = Isa::set_float(weights[i]);
      float* acc = into.acc + row * into.head_dim;
      const float* add = from.acc + row * into.head_dim;
      for (size_t d = 0; d < into.head_dim; d += kW) {
        const Isa::Float kept = Isa::mul_float(Isa::load_float(acc + d), keep_all);
        Isa::store_float(acc + d, Isa::fma(Isa::load_float(add + d), weight_all, kept));
      }
      into.sum[row] = __builtin_fmaf(from.sum[row], weights[i], into.sum[row] * keep[i]);
      into.max[row] = maxima[i];
    }
  }
}

inline void clear(const AttentionArgs& args, const Partials& state) {
  const int rows = num_rows_of(args);
  for (size_t i = 0; i < size_t(rows) * state.head_dim; ++i) state.acc[i] = 0;
  for (int row = 0; row < rows; ++row) {
    state.max[row] = kMinusInfinity;
    state.sum[row] = 0;
  }
}

inline void write_result(const AttentionArgs& args, const Partials& state) {
  for (int row = 0; row < num_rows_of(args); ++row) {
    const Isa::Float inverse = Isa::set_float(1.0f / state.sum[row]);
    const float* acc = state.acc + size_t(row) * state.head_dim;
    float* out = args.out + size_t(row / args.group) * args.out_stride + size_t(row % args.group) * state.head_dim;
    for (size_t d = 0; d < state.head_dim; d += kW) {
      Isa::store_float(out + d, Isa::mul_float(Isa::load_float(acc + d), inverse));
    }
  }
}

struct RowRange {
  int begin, end;
};

inline void clear_rows(const Partials& out, RowRange rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
    out.max[row] = kMinusInfinity;
    out.sum[row] = 0;
    for (size_t d = 0; d < out.head_dim; ++d) out.acc[size_t(row) * out.head_dim + d] = 0;
  }
}

// Rows of tokens before the split see nothing of it; the others are taken in blocks of nearly equal size.
template <typename F>
inline void for_each_block(const AttentionArgs& args, const Split& split, RowRange rows, const Partials& out,
                           F&& body) {
  const int64_t before = (split.pages[0].first_key - args.first_position) * args.group;
  const int first = before > rows.begin ? int(before) : rows.begin;
  clear_rows(out, {rows.begin, first});
  Split cached = split;
  look_ahead(cached, cached);
  bool is_first = true;
  for (int row = first; row < rows.end; is_first = false) {
    const int blocks = (rows.end - row + kMaxRows - 1) / kMaxRows, count = (rows.end - row + blocks - 1) / blocks;
    body(row, count, is_first ? split : cached);
    row += count;
  }
}

// Calls Block::run<R>(…) for a count of rows, 1 … kMost, known only at run time.
template <typename Block, int kMost, typename... A>
inline void run_block(int count, const A&... a) {
  if constexpr (kMost > 1) {
    if (count < kMost) return run_block<Block, kMost - 1>(count, a...);
  }
  Block::template run<kMost>(a...);
}

// What memory gives to each token of a call.
template <typename Type>
void attend_memory(Type& type, const AttentionArgs& args, int index, bool is_last, const Partials& out) {
  for (int token = 0; token < args.num_tokens; ++token) {
    const RowRange rows{token * args.group, (token + 1) * args.group};
    Split split = memory_split_at(args, token, index);
    if (split.count == 0) {
      clear_rows(out, rows);
      continue;
    }
    if (!is_last) look_ahead(split, memory_split_at(args, token, index + 1));
    type.attend(split, rows, out);
  }
}

// Scratch: the running result, one partial, then what the type needs.
template <typename Type>
void attention(const AttentionArgs& args, int begin, int end, float* partials) {
  const VisibleSplits splits = visible_splits(args);
  const RowRange rows{0, num_rows_of(args)};
  const size_t floats = partial_floats(size_t(rows.end), size_t(args.head_dim));
  const Partials state(args, args.scratch), partial(args, args.scratch + floats);
  Type type(args, args.scratch + 2 * floats);
  if (partials == nullptr) clear(args, state);
  const int end_in_place = end < splits.num_in_place ? end : splits.num_in_place;
  Split next = begin < end_in_place ? split_at(args, splits[begin]) : Split{};
  for (int i = begin; i < end; ++i) {
    const Partials out = partials == nullptr ? partial : Partials(args, partials + size_t(i - begin) * floats);
    if (i < end_in_place) {
      Split split = next;
      next = i + 1 == end           ? Split{}
             : i + 1 < end_in_place ? split_at(args, splits[i + 1])
                                    : memory_split_at(args, 0, 0);
      look_ahead(split, next);
      type.attend(split, rows, out);
    } else {
      attend_memory(type, args, i - splits.num_in_place, i + 1 == end, out);
    }
    if (partials != nullptr) continue;
    merge_rows(args, partial, state);
  }
  if (partials == nullptr) write_result(args, state);
}

inline void merge_partials(const AttentionArgs& args, const float* partials) {
  const size_t floats = partial_floats(size_t(num_rows_of(args)), size_t(args.head_dim));
  const Partials state(args, args.scratch);
  clear(args, state);
  for (int i = 0; i < visible_splits(args).count; ++i) {
    const Partials partial(args, const_cast<float*>(partials) + size_t(i) * floats);
    merge_rows(args, partial, state);
  }
  write_result(args, state);
}

}  // namespace
}  // namespace qwin
