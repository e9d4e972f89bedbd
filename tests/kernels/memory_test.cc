// SPDX-License-Identifier: Apache-2.0
// Memory, of every rung: the bounds of parts, what is chosen by them, and attention to what was chosen, bit
// for bit against the reference and, through it, against plain arithmetic.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <tuple>

#include "core/cpu_info.h"
#include "kernels/kernel_cases.h"

namespace qwin {

namespace {

constexpr int kNumWide = 8, kWideInBounds = 4;

struct MemoryCase {
  int64_t first_position;
  int num_tokens;
  int group;
  int head_dim;
  int32_t top_k;
  int64_t window = 64, num_sinks = 64, from = 0, chunk = 0;
};

std::ostream& operator<<(std::ostream& out, const MemoryCase& c) {
  return out << "position " << c.first_position << ", " << c.num_tokens << " tokens, group " << c.group << ", head_dim "
             << c.head_dim << ", top " << c.top_k << ", window " << c.window << ", sinks " << c.num_sinks << ", from "
             << c.from << ", chunks of " << c.chunk;
}

// A sequence in shuffled pages with a query row for each of its last tokens.
struct MemorySequence {
  MemorySequence(Random& random, const CpuKernels& kernels, KvType type, const MemoryCase& c)
      : dim(static_cast<size_t>(c.head_dim)),
        wide_channels{0, 3, static_cast<int16_t>(c.head_dim - 1), -1, 6, 7, -1, -1},
        wide{wide_channels, kNumWide, kWideInBounds},
        layout(kv_page_layout(type, dim, static_cast<size_t>(wide.count))),
        length(c.first_position + c.num_tokens),
        k(random_floats(random, static_cast<size_t>(length) * dim)),
        v(random_floats(random, static_cast<size_t>(length) * dim)),
        q(random_floats(random, static_cast<size_t>(kChunkDistances) * c.num_tokens * c.group * dim, 3.0f)),
        bounds(key_bounds_layout(dim, kWideInBounds)),
        page_bytes(layout.bytes + bounds.bytes),
        memory((length + kPageSize - 1) / kPageSize * page_bytes) {
    std::ranges::fill(memory, std::byte{0xff});  // a NaN wherever a number is read
    for (int32_t i = 0; i < (length + kPageSize - 1) / kPageSize; ++i) pages.push_back(i);
    std::ranges::shuffle(pages, random);
    for (int64_t at = 0; at < length; ++at) {
      k[at * dim] += 300;  // a channel that never changes its sign
      k[at * dim + 3] *= 80;
      kernels.store_kv[static_cast<int>(type)](k.data() + at * dim, v.data() + at * dim, dim, wide, page_of(at),
                                               static_cast<size_t>(at % kPageSize));
      if (at % kPartSize == kPartSize - 1) {
        kernels.bound_keys[static_cast<int>(type)](page_of(at), dim, wide, static_cast<int>(at % kPageSize / kPartSize),
                                                   bounds_of(at));
      }
    }
  }
  std::byte* page_of(int64_t at) { return memory.data() + pages[at / kPageSize] * page_bytes; }
  std::byte* bounds_of(int64_t at) { return page_of(at) + layout.bytes; }

  AttentionArgs args(const MemoryCase& c, float* out, float* scratch, const int32_t* parts) {
    const size_t columns = c.group * dim, plane = q.size() / kChunkDistances;
    return {.q = q.data(),
            .q_stride = columns,
            .out = out,
            .out_stride = columns,
            .base = memory.data(),
            .pages = pages.data(),
            .page_stride = page_bytes,
            .num_tokens = c.num_tokens,
            .first_position = c.first_position,
            .group = c.group,
            .head_dim = c.head_dim,
            .window = c.window,
            .num_sinks = c.num_sinks,
            .softmax_scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
            .wide = wide,
            .scratch = scratch,
            .memory = {.top_k = c.top_k, .from = c.from},
            .bounds = layout.bytes,
            .parts = parts,
            .chunks = {c.chunk, q.data() + plane, q.data() + 2 * plane}};
  }

  size_t dim;
  int16_t wide_channels[kNumWide];
  WideChannels wide;
  KvPageLayout layout;
  int64_t length;
  GuardedArray<float> k, v;
  GuardedArray<float> q;  // [3, num_tokens, group * head_dim]
  KeyBoundsLayout bounds;
  size_t page_bytes;
  GuardedArray<std::byte> memory;
  std::vector<int32_t> pages;
};

class MemoryTest : public testing::TestWithParam<std::tuple<CpuIsa, KvType>> {
 protected:
  KvType type() const { return std::get<1>(GetParam()); }

  static GuardedArray<int32_t> choose(const CpuKernels& kernels, const MemoryCase& c, MemorySequence& sequence) {
    GuardedArray<int32_t> parts(static_cast<size_t>(c.num_tokens) * c.top_k);
    std::ranges::fill(parts, 12345);
    GuardedArray<float> scratch(
        choice_scratch_floats(c.group, sequence.dim, kWideInBounds, sequence.length / kPageSize + 1));
    std::ranges::fill(scratch, std::nanf(""));
    kernels.choose_memory(sequence.args(c, nullptr, scratch.data(), nullptr), parts.data());
    return parts;
  }

  GuardedArray<float> attend(const CpuKernels& kernels, const MemoryCase& c, MemorySequence& sequence,
                             const GuardedArray<int32_t>& parts, bool pieces) const {
    const size_t rows = static_cast<size_t>(c.num_tokens) * c.group;
    GuardedArray<float> out(rows * sequence.dim), scratch(attention_scratch_floats(rows, sequence.dim, kNumWide));
    std::ranges::fill(scratch, std::nanf(""));
    const AttentionArgs args = sequence.args(c, out.data(), scratch.data(), parts.data());
    const AttentionFn kernel = kernels.attention[static_cast<int>(type())];
    const int count = visible_splits(args).count;
    if (!pieces) {
      kernel(args, 0, count, nullptr);
      return out;
    }
    GuardedArray<float> partials(count * partial_floats(rows, sequence.dim));
    for (int i = 0; i < count; i += 3) {
      kernel(args, i, std::min(count, i + 3), partials.data() + i * partial_floats(rows, sequence.dim));
    }
    kernels.merge_partials(args, partials.data());
    return out;
  }

  const CpuKernels kernels_ = make_cpu_kernels(std::get<0>(GetParam()));
  const CpuKernels reference_ = make_cpu_kernels(CpuIsa::reference);
  Random random_{5};
};

const MemoryCase kCases[] = {
    {900, 3, 7, 64, 20},
    {700, 5, 2, 32, 16, 100},             // a window whose border is within a page
    {500, 4, 6, 128, 3, 64, 128},         // fewer parts than a page has
    {300, 70, 1, 16, 5, 64, 0},           // no sinks; the window moves on within the call
    {250, 9, 8, 48, 1000, 64, 64},        // everything is chosen
    {700, 3, 11, 80, 9},                  // more heads than are bounded together
    {400, 40, 3, 32, 6, 64, 64, 420},     // the first queries see everything
    {60, 20, 2, 16, 8},                   // nothing has left the window yet
    {900, 3, 7, 64, 22, 64, 64, 0, 192},  // parts of three chunk distances
    {700, 4, 2, 32, 80, 64, 0, 0, 320},   // everything, of three distances
    {513, 9, 1, 48, 1000, 64, 64, 0, 64},
};

// What was chosen as attention reads it: where chunks are, parts of another distance begin at a multiple of four.
struct PlacedParts {
  PlacedParts(const MemoryCase& c, const GuardedArray<int32_t>& chosen) : c(c), parts(chosen.clone()) {
    if (c.chunk == 0) return;
    this->c.top_k += (kChunkDistances - 1) * (kPageParts - 1);
    parts = GuardedArray<int32_t>(static_cast<size_t>(c.num_tokens) * this->c.top_k);
    std::ranges::fill(parts, -1);
    for (int token = 0; token < c.num_tokens; ++token) {
      int place = 0, last = -1;
      for (int i = 0; i < c.top_k; ++i) {
        const int32_t part = chosen[token * c.top_k + i];
        if (part < 0) break;
        const int64_t query = c.first_position + token;
        const int distance = static_cast<int>(std::min<int64_t>(query / c.chunk - part * kPartSize / c.chunk, 2));
        while (last >= 0 && distance != last && place % kPageParts != 0) ++place;
        parts[token * this->c.top_k + place++] = part;
        last = distance;
      }
    }
  }
  MemoryCase c;
  GuardedArray<int32_t> parts;
};

TEST_P(MemoryTest, ChoiceAndAttentionAreTheReferencesBits) {
  for (const MemoryCase& c : kCases) {
    SCOPED_TRACE(testing::Message() << c);
    MemorySequence sequence(random_, kernels_, type(), c);
    const GuardedArray<int32_t> parts = choose(reference_, c, sequence), own = choose(kernels_, c, sequence);
    ASSERT_TRUE(std::ranges::equal(own, parts)) << "chooses otherwise";
    const PlacedParts placed(c, parts);
    const GuardedArray<float> expected = attend(reference_, placed.c, sequence, placed.parts, false);
    for (const bool pieces : {false, true}) {
      const GuardedArray<float> out = attend(kernels_, placed.c, sequence, placed.parts, pieces);
      ASSERT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0) << "pieces: " << pieces;
    }
  }
}

TEST_P(MemoryTest, AQueryChoosesAloneWhatItChoosesAmongOthers) {
  for (const MemoryCase& c : kCases) {
    SCOPED_TRACE(testing::Message() << c);
    MemorySequence sequence(random_, kernels_, type(), c);
    const GuardedArray<int32_t> parts = choose(kernels_, c, sequence);
    const PlacedParts all(c, parts);
    const GuardedArray<float> together = attend(kernels_, all.c, sequence, all.parts, false);
    const size_t columns = c.group * sequence.dim;
    for (int token = 0; token < c.num_tokens; token += 1 + c.num_tokens / 5) {
      MemoryCase one = c;
      one.first_position += token;
      one.num_tokens = 1;
      GuardedArray<float> out(columns), scratch(attention_scratch_floats(c.group, sequence.dim, kNumWide) +
                                                choice_scratch_floats(c.group, sequence.dim, kWideInBounds, 64));
      GuardedArray<int32_t> own(c.top_k);
      AttentionArgs args = sequence.args(one, out.data(), scratch.data(), own.data());
      for (const float** q : {&args.q, &args.chunks.previous, &args.chunks.earlier}) *q += token * columns;
      kernels_.choose_memory(args, own.data());
      ASSERT_TRUE(std::equal(own.begin(), own.end(), parts.begin() + static_cast<ptrdiff_t>(token) * c.top_k));
      const PlacedParts placed(one, own);
      args.parts = placed.parts.data(), args.memory.top_k = placed.c.top_k;
      kernels_.attention[static_cast<int>(type())](args, 0, visible_splits(args).count, nullptr);
      ASSERT_EQ(std::memcmp(out.data(), together.data() + token * columns, columns * sizeof(float)), 0) << token;
    }
  }
}

// With everything chosen, hybrid attention is exact attention in another order.
TEST_P(MemoryTest, WhatIsChosenIsSeenAtItsTruePlace) {
  for (const int64_t chunk : {0, 192}) {
    const MemoryCase c{700, 4, 3, 32, 64, 64, 64, 0, chunk}, exact{700, 4, 3, 32, 0, 0, 0, 0, chunk};
    MemorySequence sequence(random_, kernels_, type(), c);
    const GuardedArray<int32_t> parts = choose(kernels_, c, sequence);
    std::set<int32_t> seen(parts.begin(), parts.begin() + c.top_k);
    EXPECT_EQ(seen.size(), (700 - 64 + 1) / 64 * 4 - 4 + 1u) << "all parts between sinks and window, and -1";
    const PlacedParts placed(c, parts);
    const GuardedArray<float> out = attend(kernels_, placed.c, sequence, placed.parts, false);
    const GuardedArray<float> expected = attend(kernels_, exact, sequence, {}, false);
    const float tolerance = type() == KvType::q8 ? 0.05f : 1e-4f;  // q8: p has a unit for each page it is read in
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], tolerance);
  }
}

template <typename T>
T at(const std::byte* bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof value);
  return value;
}

TEST_P(MemoryTest, BoundsAreThoseOfTheStoredKeys) {
  const MemoryCase c{256, 1, 1, 48, 4};
  MemorySequence sequence(random_, kernels_, type(), c);
  for (size_t part = 0; part < 4 * kPageParts; ++part) {
    const size_t in_page = part % kPageParts;
    const std::byte* const bounds = sequence.bounds_of(static_cast<int64_t>(part * kPartSize));
    const float narrow_scale = at<float>(bounds + sequence.bounds.scales, in_page),
                wide_scale = at<float>(bounds + sequence.bounds.scales, kPageParts + in_page);
    float largest_narrow = 0;
    for (size_t d = 0; d < sequence.dim; ++d) {
      float lo = 1e30f, hi = -1e30f;
      for (size_t i = 0; i < kPartSize; ++i) {
        const float key = sequence.k[(part * kPartSize + i) * sequence.dim + d];
        lo = std::min(lo, key), hi = std::max(hi, key);
      }
      const size_t narrow = (d / 2 * kPageParts + in_page) * 4 + d % 2 * 2;
      const int16_t *const wide_begin = sequence.wide_channels, *const wide_end = wide_begin + kWideInBounds;
      const int16_t* const wide = std::find(wide_begin, wide_end, static_cast<int16_t>(d));
      // Half a unit of q8, of binary16, and of the bounds themselves.
      const float stored = type() == KvType::q8 ? 0.15f + std::fabs(hi) / 100 : 0.02f + std::fabs(hi) / 2000;
      if (wide == wide_end) {
        largest_narrow = std::max({largest_narrow, std::fabs(lo), std::fabs(hi)});
        ASSERT_NEAR(at<int8_t>(bounds, narrow) * narrow_scale, hi, stored + narrow_scale / 2) << d;
        ASSERT_NEAR(at<int8_t>(bounds, narrow + 1) * narrow_scale, -lo, stored + narrow_scale / 2) << d;
      } else {
        const size_t place = (static_cast<size_t>(wide - wide_begin) * kPageParts + in_page) * 2;
        ASSERT_EQ(at<int8_t>(bounds, narrow) | at<int8_t>(bounds, narrow + 1), 0) << d;
        ASSERT_NEAR(at<int16_t>(bounds + sequence.bounds.wide, place) * wide_scale, hi, stored) << d;
        ASSERT_NEAR(at<int16_t>(bounds + sequence.bounds.wide, place + 1) * wide_scale, -lo, stored) << d;
      }
    }
    ASSERT_NEAR(narrow_scale, largest_narrow / 127, largest_narrow / 1000) << "as fine as 8 bits allow";
    ASSERT_LT(wide_scale, 0.02f);
  }
}

// Of so many parts those come first whose bounds are highest, in plain arithmetic.
TEST_P(MemoryTest, WhatIsChosenHasTheHighestBounds) {
  const MemoryCase c{1500, 1, 1, 64, 12};
  MemorySequence sequence(random_, kernels_, type(), c);
  const GuardedArray<int32_t> parts = choose(kernels_, c, sequence);
  const auto bound = [&](int32_t part) {
    double sum = 0;
    for (size_t d = 0; d < sequence.dim; ++d) {
      double best = -1e30;
      for (int64_t i = 0; i < kPartSize; ++i) {
        const float key =
            sequence.k[(int64_t{part} * kPartSize + i) * static_cast<int64_t>(sequence.dim) + static_cast<int64_t>(d)];
        best = std::max(best, double{sequence.q[d]} * key);
      }
      sum += best;
    }
    return sum;
  };
  double lowest_chosen = 1e30, highest_left = -1e30;
  const int32_t begin = 4, end = (1500 - 64 + 1) / 64 * 4;
  for (int32_t part = begin; part < end; ++part) {
    if (std::ranges::find(parts, part) != parts.end())
      lowest_chosen = std::min(lowest_chosen, bound(part));
    else
      highest_left = std::max(highest_left, bound(part));
  }
  // 64 channels with |q| up to 3 against steps of about .03, those kept apart with their keys in q8.
  EXPECT_GT(lowest_chosen, highest_left - (type() == KvType::q8 ? 12 : 3));
  EXPECT_LT(lowest_chosen, 1e29);
}

// One key that matches the query among thousands that do not: wherever it lies, its part is chosen.
TEST_P(MemoryTest, AKeyThatMatchesIsFound) {
  MemoryCase c{1500, 1, 2, 64, 4};
  for (const int64_t needle : {70, 200, 641, 1023, 1300}) {
    MemorySequence sequence(random_, kernels_, type(), c);
    GuardedArray<float> k(sequence.dim);
    for (size_t d = 0; d < sequence.dim; ++d) k[d] = 2 * sequence.q[sequence.dim + d];
    k[0] += 300, k[3] *= 80;  // as those of the others
    kernels_.store_kv[static_cast<int>(type())](k.data(), k.data(), sequence.dim, sequence.wide,
                                                sequence.page_of(needle), needle % kPageSize);
    for (int part = 0; part < kPageParts; ++part) {
      kernels_.bound_keys[static_cast<int>(type())](sequence.page_of(needle), sequence.dim, sequence.wide, part,
                                                    sequence.bounds_of(needle));
    }
    const GuardedArray<int32_t> parts = choose(kernels_, c, sequence);
    EXPECT_NE(std::ranges::find(parts, needle / kPartSize), parts.end()) << needle;
  }
}

TEST_P(MemoryTest, NumbersThatAreNotFiniteChooseSomethingThatIsThere) {
  const MemoryCase c{900, 1, 2, 32, 5};
  MemorySequence sequence(random_, kernels_, type(), c);
  for (const float fault : {std::nanf(""), INFINITY, -INFINITY, 3e38f}) {
    sequence.q[3] = sequence.q[40] = fault;
    GuardedArray<float> k = random_floats(random_, sequence.dim);
    k[5] = fault;
    kernels_.store_kv[static_cast<int>(type())](k.data(), k.data(), sequence.dim, sequence.wide, sequence.page_of(300),
                                                300 % kPageSize);
    for (int part = 0; part < kPageParts; ++part) {
      kernels_.bound_keys[static_cast<int>(type())](sequence.page_of(300), sequence.dim, sequence.wide, part,
                                                    sequence.bounds_of(300));
    }
    const GuardedArray<int32_t> parts = choose(kernels_, c, sequence), expected = choose(reference_, c, sequence);
    ASSERT_TRUE(std::ranges::equal(parts, expected)) << fault;
    for (const int32_t part : parts) ASSERT_TRUE(part >= 4 && part < 900 / kPartSize) << part;
  }
}

INSTANTIATE_TEST_SUITE_P(Rungs, MemoryTest,
                         testing::Combine(testing::ValuesIn(runnable_rungs()), testing::ValuesIn(kKvTypes)),
                         rung_and_kv_type);

}  // namespace

}  // namespace qwin
