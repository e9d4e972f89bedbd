// SPDX-License-Identifier: Apache-2.0
// Paged attention of every rung, the reference among them, against double arithmetic over the same stored keys and
// values; K and V storage and whole calls bit for bit against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <tuple>

#include "core/cpu_info.h"
#include "core/half.h"
#include "kernels/kernel_cases.h"

namespace qwin {

namespace {

struct AttentionCase {
  int64_t first_position;
  int num_tokens;
  int group;
  int head_dim;
  int64_t window = 0;
  int64_t num_sinks = 0;
  float key_scale = 1.0f;
  float bias = 0;     // of the wide channels of K
  int64_t chunk = 0;  // tokens a chunk: three queries a row, for the keys of its own, the one before and earlier ones
};

// Channels 1 and head_dim - 1, padded to a quad.
constexpr int kNumWide = 4;
std::array<int16_t, kNumWide> wide_channels(int head_dim) { return {1, static_cast<int16_t>(head_dim - 1), -1, -1}; }

std::ostream& operator<<(std::ostream& out, const AttentionCase& c) {
  return out << "position " << c.first_position << ", " << c.num_tokens << " tokens, group " << c.group << ", head_dim "
             << c.head_dim << ", window " << c.window << ", sinks " << c.num_sinks << ", chunks of " << c.chunk;
}

// Rows of queries: for each rotation one after the other.
size_t q_stride(const AttentionCase& c) { return static_cast<size_t>(c.group) * c.head_dim + 1; }
size_t q_floats(const AttentionCase& c) {
  return (c.num_tokens - 1) * q_stride(c) + static_cast<size_t>(c.group) * c.head_dim;
}
GuardedArray<float> random_queries(Random& random, const AttentionCase& c) {
  return random_floats(random, (c.chunk > 0 ? kChunkDistances : 1) * q_floats(c));
}
// Where in them the row is that meets this key, from the row that meets the query's own chunk.
size_t q_plane(const AttentionCase& c, int64_t key, int64_t query) {
  if (c.chunk == 0) return 0;
  return static_cast<size_t>(std::min<int64_t>(query / c.chunk - key / c.chunk, 2)) * q_floats(c);
}

bool visible(const AttentionCase& c, int64_t key, int64_t query) {
  return key <= query && (c.window == 0 || key > query - c.window || key < c.num_sinks);
}

// A sequence in shuffled pages. Slots after the last position hold NaN, as another sequence's leftovers could; pages
// that no query sees have no place in memory.
class PagedSequence {
 public:
  PagedSequence(Random& random, const CpuKernels& kernels, KvType type, const AttentionCase& c)
      : type_(type), case_(c), length_(c.first_position + c.num_tokens), wide_(wide_channels(c.head_dim)) {
    const size_t dim = static_cast<size_t>(c.head_dim);
    k_ = random_floats(random, static_cast<size_t>(length_) * dim, c.key_scale);
    v_ = random_floats(random, static_cast<size_t>(length_) * dim);
    for (int64_t at = 0; at < length_; ++at) k_[at * dim + 1] += c.bias, k_[at * dim + dim - 1] -= c.bias;
    const size_t num_pages = static_cast<size_t>((length_ + kPageSize - 1) / kPageSize);
    page_bytes_ = kv_page_layout(type, dim, kNumWide).bytes;
    memory_ = GuardedArray<std::byte>(num_pages * page_bytes_);
    std::ranges::fill(memory_, std::byte{0xff});  // a NaN wherever a number is read
    for (size_t i = 0; i < num_pages; ++i) pages_.push_back(static_cast<int32_t>(i));
    std::ranges::shuffle(pages_, random);
    for (int64_t at = 0; at < length_; ++at) {
      float *k = k_.data() + at * dim, *v = v_.data() + at * dim;
      const size_t slot = static_cast<size_t>(at % kPageSize);
      kernels.store_kv[static_cast<int>(type)](k, v, dim, wide(), page(at / kPageSize), slot);
      if (type == KvType::f16) {
        for (size_t d = 0; d < dim; ++d)
          k[d] = half_to_float(float_to_half(k[d])), v[d] = half_to_float(float_to_half(v[d]));
      } else if (type == KvType::q8) {
        read_q8(page(at / kPageSize), slot, k, v);
      }
    }
    for (size_t i = 0; i < num_pages; ++i) {
      if (!page_visible(static_cast<int64_t>(i))) pages_[i] = -1;
    }
  }

  WideChannels wide() const { return {wide_.data(), kNumWide}; }
  const std::byte* memory() const { return memory_.data(); }
  const int32_t* pages() const { return pages_.data(); }
  size_t page_bytes() const { return page_bytes_; }
  std::byte* page_of(int64_t position) const { return page(position / kPageSize); }

  // softmax(q . k) . v for one query head, in double. `tolerance` covers the rounding of scores of their size.
  void attend(const float* q, int64_t query, double softmax_scale, std::vector<double>* out, double* tolerance) const {
    const size_t dim = static_cast<size_t>(case_.head_dim);
    std::vector<double> scores;
    std::vector<int64_t> keys;
    double max = -std::numeric_limits<double>::infinity(), magnitude = 0, largest_v = 0;
    for (int64_t key = 0; key <= query; ++key) {
      if (!visible(case_, key, query)) continue;
      double dot = 0, products = 0;
      for (size_t d = 0; d < dim; ++d) {
        const double product = static_cast<double>(q[q_plane(case_, key, query) + d]) * k_[key * dim + d];
        dot += product;
        products += std::fabs(product);
        largest_v = std::max(largest_v, std::fabs(static_cast<double>(v_[key * dim + d])));
      }
      scores.push_back(dot * softmax_scale);
      keys.push_back(key);
      max = std::max(max, scores.back());
      magnitude = std::max(magnitude, products * softmax_scale);
    }
    double sum = 0, p_rounding = 0;
    std::map<int64_t, double> page_max;  // of p
    std::map<int64_t, int> page_keys;
    out->assign(dim, 0);
    for (size_t i = 0; i < keys.size(); ++i) {
      const double p = std::exp(scores[i] - max);
      sum += p;
      page_max[keys[i] / kPageSize] = std::max(page_max[keys[i] / kPageSize], p);
      ++page_keys[keys[i] / kPageSize];
      for (size_t d = 0; d < dim; ++d) (*out)[d] += p * v_[keys[i] * dim + d];
    }
    for (double& x : *out) x /= sum;
    *tolerance = (2e-6 + 5e-7 * magnitude) * largest_v;
    if (type_ != KvType::q8) return;
    // Half a unit of every key's p, which has 8 bits a page, and of every channel of q, which has 16.
    for (const auto& [page, p] : page_max) p_rounding += page_keys[page] * p * 0.5 / 255 / sum;
    *tolerance += (1.01 * p_rounding + 2 * q_rounding(q, softmax_scale)) * largest_v;
  }

 private:
  // The largest error of a score if every channel of q is off by half a unit.
  double q_rounding(const float* q, double softmax_scale) const {
    const size_t dim = static_cast<size_t>(case_.head_dim);
    float largest_q = 0;
    double largest_sum = 0;
    for (size_t plane = 0; plane < (case_.chunk > 0 ? 3 : 1) * q_floats(case_); plane += q_floats(case_)) {
      for (size_t d = 0; d < dim; ++d) largest_q = std::max(largest_q, std::fabs(q[plane + d]));
    }
    for (size_t key = 0; key < static_cast<size_t>(length_); ++key) {
      double sum = 0;
      for (size_t d = 0; d < dim; ++d) sum += std::fabs(k_[key * dim + d]);
      largest_sum = std::max(largest_sum, sum);
    }
    return 0.5 * largest_q / 32639 * largest_sum * softmax_scale;
  }
  // What the codes of a stored token stand for.
  void read_q8(const std::byte* page, size_t slot, float* k, float* v) const {
    const size_t dim = static_cast<size_t>(case_.head_dim);
    const KvPageLayout layout = kv_page_layout(KvType::q8, dim, kNumWide);
    float k_scale, v_scale;
    std::memcpy(&k_scale, page + layout.k_scales + 4 * slot, 4);
    std::memcpy(&v_scale, page + layout.v_scales + 4 * slot, 4);
    const std::byte* part = page + slot / 16 * 16 * (dim + kNumWide);
    const auto digit = [&](size_t c) { return static_cast<int>(part[(c / 4 * 16 + slot % 16) * 4 + c % 4]) - 128; };
    for (size_t d = 0; d < dim; ++d) {
      k[d] = k_scale * static_cast<float>(digit(d));
      v[d] = v_scale * static_cast<float>(static_cast<int8_t>(page[layout.v + (slot / 4 * dim + d) * 4 + slot % 4]));
    }
    for (size_t w = 0; w < kNumWide; ++w) {
      if (wide_[w] >= 0) k[wide_[w]] += k_scale * 256.0f * static_cast<float>(digit(dim + w));
    }
  }
  std::byte* page(int64_t index) const { return memory_.data() + static_cast<size_t>(pages_[index]) * page_bytes_; }
  bool page_visible(int64_t index) const {
    for (int64_t key = index * kPageSize; key < std::min((index + 1) * kPageSize, length_); ++key) {
      for (int t = 0; t < case_.num_tokens; ++t) {
        if (visible(case_, key, case_.first_position + t)) return true;
      }
    }
    return false;
  }

  KvType type_;
  AttentionCase case_;
  int64_t length_;
  std::array<int16_t, kNumWide> wide_;
  GuardedArray<float> k_, v_;  // [length, head_dim] as stored
  size_t page_bytes_ = 0;
  GuardedArray<std::byte> memory_;
  std::vector<int32_t> pages_;
};

class AttentionTest : public testing::TestWithParam<std::tuple<CpuIsa, KvType>> {
 protected:
  KvType type() const { return std::get<1>(GetParam()); }

  // With `pieces`, splits are taken one by one and merged; the reference rung with `kernels` of its own.
  GuardedArray<float> run(const CpuKernels& kernels, const AttentionCase& c, const PagedSequence& sequence,
                          const GuardedArray<float>& q, bool pieces) const {
    const size_t stride = q_stride(c), rows = static_cast<size_t>(c.num_tokens) * c.group;
    const size_t dim = static_cast<size_t>(c.head_dim);
    GuardedArray<float> out(q_floats(c)), scratch(attention_scratch_floats(rows, dim, kNumWide));
    std::ranges::fill(out, -9.0f);
    std::ranges::fill(scratch, std::nanf(""));
    const AttentionArgs args{.q = q.data(),
                             .q_stride = stride,
                             .out = out.data(),
                             .out_stride = stride,
                             .base = sequence.memory(),
                             .pages = sequence.pages(),
                             .page_stride = sequence.page_bytes(),
                             .num_tokens = c.num_tokens,
                             .first_position = c.first_position,
                             .group = c.group,
                             .head_dim = c.head_dim,
                             .window = c.window,
                             .num_sinks = c.num_sinks,
                             .softmax_scale = softmax_scale(c),
                             .wide = sequence.wide(),
                             .scratch = scratch.data(),
                             .chunks = {c.chunk, c.chunk > 0 ? q.data() + q_floats(c) : nullptr,
                                        c.chunk > 0 ? q.data() + 2 * q_floats(c) : nullptr}};
    const AttentionFn kernel = kernels.attention[static_cast<int>(type())];
    const int count = visible_splits(args).count;
    if (!pieces) {
      kernel(args, 0, count, nullptr);
      return out;
    }
    GuardedArray<float> partials(count * partial_floats(rows, dim));
    std::ranges::fill(partials, std::nanf(""));
    for (int i = 0; i < count; i += 1 + i % 2) {
      kernel(args, i, std::min(count, i + 1 + i % 2), partials.data() + i * partial_floats(rows, dim));
    }
    kernels.merge_partials(args, partials.data());
    return out;
  }
  GuardedArray<float> run(const AttentionCase& c, const PagedSequence& sequence, const GuardedArray<float>& q) const {
    return run(kernels_, c, sequence, q, false);
  }

  void check(const AttentionCase& c) {
    SCOPED_TRACE(testing::Message() << c);
    const PagedSequence sequence(random_, kernels_, type(), c);
    const GuardedArray<float> q = random_queries(random_, c), out = run(c, sequence, q);
    const GuardedArray<float> expected = run(reference_, c, sequence, q, false),
                              merged = run(kernels_, c, sequence, q, true);
    ASSERT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0) << "not the reference's bits";
    ASSERT_EQ(std::memcmp(merged.data(), expected.data(), out.size() * sizeof(float)), 0) << "splits one by one differ";
    std::vector<double> exact;
    double tolerance = 0;
    for (int t = 0; t < c.num_tokens; ++t) {
      for (int h = 0; h < c.group; ++h) {
        const size_t at = t * q_stride(c) + static_cast<size_t>(h) * c.head_dim;
        sequence.attend(q.data() + at, c.first_position + t, softmax_scale(c), &exact, &tolerance);
        for (int d = 0; d < c.head_dim; ++d)
          ASSERT_NEAR(out[at + d], exact[d], tolerance) << "token " << t << ", head " << h << ", column " << d;
      }
      const size_t between = (t + 1) * q_stride(c) - 1;
      if (between < out.size()) {
        ASSERT_EQ(out[between], -9.0f) << "wrote between the rows";
      }
    }
  }

  static float softmax_scale(const AttentionCase& c) { return 1.0f / std::sqrt(static_cast<float>(c.head_dim)); }

  const CpuKernels kernels_ = make_tested_kernels(std::get<0>(GetParam()));
  const CpuKernels reference_ = make_cpu_kernels(CpuIsa::reference);
  Random random_{3};
};

TEST_P(AttentionTest, EveryGroupAndHeadSizeIsExactWithinTolerance) {
  for (const int head_dim : {16, 32, 48, 64, 128}) {
    for (int group = 1; group <= 7; ++group) check({60, 5, group, head_dim});
  }
}

TEST_P(AttentionTest, EveryTokenCountAcrossPageBordersIsExactWithinTolerance) {
  static constexpr int64_t kFirst[] = {0, 1, 47, 62, 63, 64, 65, 127, 128, 200};
  for (int tokens = 1; tokens <= 17; ++tokens) {
    for (const int64_t first : kFirst) check({first, tokens, 1 + tokens % 3, 32});
  }
}

TEST_P(AttentionTest, WindowsAndSinksHideTheOtherKeys) {
  for (const int64_t window : {1, 2, 17, 63, 64, 65, 100, 1000}) {
    for (const int64_t sinks : {0, 1, 4, 63, 64, 65, 130}) {
      check({0, 3, 2, 16, window, sinks});
      check({126, 4, 2, 16, window, sinks});
      check({320, 9, 1, 16, window, sinks});
    }
  }
}

// Qwen2.5's key biases make scores of hundreds: the softmax must not overflow, and the first keys may all but vanish.
TEST_P(AttentionTest, LargeScoresAreExactWithinTheirRounding) {
  for (const float scale : {30.0f, 300.0f}) {
    check({100, 6, 3, 64, 0, 0, scale});
    check({100, 6, 3, 64, 40, 4, scale});
  }
  for (const float bias : {20.0f, 500.0f}) {
    check({300, 6, 3, 64, 0, 0, 1, bias});
    check({0, 70, 7, 128, 0, 0, 1, bias});
  }
}

TEST_P(AttentionTest, EveryKeyMeetsTheQueryOfItsChunk) {
  for (const int64_t chunk : {64, 192, 512}) {
    for (const int64_t first : {0, 63, 150, 192, 300, 700}) {
      const int tokens = static_cast<int>(std::min<int64_t>(9, chunk - first % chunk));
      check({first, tokens, 2, 32, 0, 0, 1, 0, chunk});
      check({first, tokens, 7, 64, 100, 4, 1, 20, chunk});
    }
  }
}

TEST_P(AttentionTest, SplitsAreMergedInOrder) {
  for (const int64_t first : {250, 255, 256, 257, 511, 700, 1100}) {
    check({first, 3, 6, 32});
    check({first, 9, 1, 16, 300, 4});
    check({first, 2, 2, 16, 100, 260});
  }
}

TEST_P(AttentionTest, ChunksAndHeadsGiveTheSameBitsAsOneCall) {
  for (const AttentionCase& whole : {AttentionCase{58, 17, 7, 64}, AttentionCase{190, 12, 3, 32, 70, 3}}) {
    const PagedSequence sequence(random_, kernels_, type(), whole);
    const GuardedArray<float> q = random_floats(random_, q_floats(whole)), together = run(whole, sequence, q);
    AttentionCase one = whole;
    one.num_tokens = 1;
    for (int t = 0; t < whole.num_tokens; ++t) {
      GuardedArray<float> row(q_floats(one));
      std::copy_n(q.data() + t * q_stride(whole), row.size(), row.data());
      one.first_position = whole.first_position + t;
      const GuardedArray<float> alone = run(one, sequence, row);
      ASSERT_EQ(std::memcmp(alone.data(), together.data() + t * q_stride(whole), row.size() * sizeof(float)), 0)
          << whole << ", token " << t;
    }
  }
}

TEST_P(AttentionTest, StoreKvPutsEveryNumberInItsPlace) {
  if (type() == KvType::q8) GTEST_SKIP() << "q8 has a test of its own";
  for (const int head_dim : {16, 48, 128}) {
    const size_t dim = static_cast<size_t>(head_dim), element = type() == KvType::f32 ? 4 : 2;
    for (const size_t slot : {0, 1, 16, 31, 63}) {
      GuardedArray<float> k = random_floats(random_, dim), v = random_floats(random_, dim, 1e-6f);
      k[0] = 65519.0f, k[1] = -65520.0f, k[2] = 1e-8f, k[3] = -0.0f, v[4] = 6.1e-5f, v[5] = 2.9802322e-8f;
      GuardedArray<std::byte> page(2 * kPageSize * dim * element);
      std::ranges::fill(page, std::byte{0xab});
      GuardedArray<std::byte> expected = page.clone();
      for (size_t d = 0; d < dim; ++d) {
        const uint16_t k_half = float_to_half(k[d]), v_half = float_to_half(v[d]);
        const void* k_bytes = type() == KvType::f32 ? static_cast<const void*>(&k[d]) : &k_half;
        const void* v_bytes = type() == KvType::f32 ? static_cast<const void*>(&v[d]) : &v_half;
        std::memcpy(expected.data() + ((slot / 16 * dim + d) * 16 + slot % 16) * element, k_bytes, element);
        std::memcpy(expected.data() + ((kPageSize + slot) * dim + d) * element, v_bytes, element);
      }
      kernels_.store_kv[static_cast<int>(type())](k.data(), v.data(), dim, {}, page.data(), slot);
      ASSERT_EQ(std::memcmp(page.data(), expected.data(), page.size()), 0) << "head_dim " << dim << ", slot " << slot;
    }
  }
}

// What q8 stores: the reference's bytes, and values within half a unit, wide channels included.
TEST_P(AttentionTest, StoreKvInEightBitsIsWithinHalfAUnit) {
  if (type() != KvType::q8) GTEST_SKIP() << "of q8 alone";
  for (const int head_dim : {16, 48, 128}) {
    const size_t dim = static_cast<size_t>(head_dim);
    const std::array<int16_t, kNumWide> channels = wide_channels(head_dim);
    for (const WideChannels& wide : {WideChannels{channels.data(), kNumWide}, WideChannels{}}) {
      const KvPageLayout layout = kv_page_layout(KvType::q8, dim, static_cast<size_t>(wide.count));
      for (const float size : {0.0f, 1e-35f, 1e-6f, 1.0f, 700.0f, 3e38f, std::nanf("")}) {
        for (const size_t slot : {0, 5, 37, 63}) {
          GuardedArray<float> k = random_floats(random_, dim), v = random_floats(random_, dim);
          k[1] = size, v[3] = -size;
          GuardedArray<std::byte> page(layout.bytes), expected(layout.bytes);
          kernels_.store_kv[static_cast<int>(KvType::q8)](k.data(), v.data(), dim, wide, page.data(), slot);
          reference_.store_kv[static_cast<int>(KvType::q8)](k.data(), v.data(), dim, wide, expected.data(), slot);
          ASSERT_EQ(std::memcmp(page.data(), expected.data(), page.size()), 0) << "slot " << slot << ", value " << size;
          float k_scale, v_scale;
          std::memcpy(&k_scale, page.data() + layout.k_scales + 4 * slot, 4);
          std::memcpy(&v_scale, page.data() + layout.v_scales + 4 * slot, 4);
          ASSERT_EQ(std::isnan(v_scale), std::isnan(size));
          if (std::isnan(size)) continue;
          for (size_t d = 0; d < dim; ++d) {
            const std::byte* part = page.data() + slot / 16 * 16 * (dim + static_cast<size_t>(wide.count));
            const auto digit = [&](size_t c) { return int(part[(c / 4 * 16 + slot % 16) * 4 + c % 4]) - 128; };
            const int high = wide.count > 0 && d == 1         ? digit(dim)
                             : wide.count > 0 && d == dim - 1 ? digit(dim + 1)
                                                              : 0;
            ASSERT_NEAR(k_scale * (256.0 * high + digit(d)), k[d], 0.501 * k_scale + 1e-30) << "channel " << d;
            const auto code = static_cast<int8_t>(page[layout.v + (slot / 4 * dim + d) * 4 + slot % 4]);
            ASSERT_NEAR(double{v_scale} * code, v[d], 0.501 * v_scale + 1e-30) << "channel " << d;
          }
        }
      }
    }
  }
}

TEST_P(AttentionTest, AValueThatIsNotFiniteReachesTheResult) {
  AttentionCase c{70, 1, 2, 32};
  const PagedSequence sequence(random_, kernels_, type(), c);
  GuardedArray<float> k = random_floats(random_, 32), v = random_floats(random_, 32);
  v[7] = std::nanf("");
  kernels_.store_kv[static_cast<int>(type())](k.data(), v.data(), 32, sequence.wide(), sequence.page_of(66), 66 % 64);
  const GuardedArray<float> q = random_floats(random_, q_floats(c)), out = run(c, sequence, q);
  EXPECT_TRUE(std::isnan(out[7]));
}

// A window reads the pages of the sinks and its own, whatever the depth.
TEST(VisiblePagesTest, AWindowVisitsAsManyPagesAtEveryDepth) {
  AttentionArgs args{};
  args.num_tokens = 1, args.window = 200, args.num_sinks = 70;
  for (const int64_t position : {500, 4000, 100000}) {
    for (int64_t offset = 0; offset < 64; ++offset) {
      args.first_position = position + offset;
      const VisiblePages pages = visible_pages(args);
      const int64_t count = pages.sinks_end + pages.end - pages.window_begin;
      EXPECT_GE(count, 2 + 4);
      EXPECT_LE(count, 2 + 5);
      const VisibleSplits splits = visible_splits(args);
      EXPECT_LE(splits.count, 3);
      for (int i = 1; i < splits.count; ++i) EXPECT_GT(splits[i], splits[i - 1]);
      EXPECT_EQ(splits[splits.count - 1], args.first_position / kSplitKeys);
    }
  }
  args.window = 0;
  args.first_position = 4000;
  EXPECT_EQ(visible_pages(args).end, 63);
  EXPECT_EQ(visible_splits(args).count, 16);
}

INSTANTIATE_TEST_SUITE_P(Rungs, AttentionTest,
                         testing::Combine(testing::ValuesIn(tested_rungs()), testing::ValuesIn(kKvTypes)),
                         rung_and_kv_type);

}  // namespace

}  // namespace qwin
