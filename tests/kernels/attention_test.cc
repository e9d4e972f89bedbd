// SPDX-License-Identifier: Apache-2.0
// Paged attention of every rung, the reference among them, against double arithmetic over the same stored keys and
// values; K and V storage bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
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
};

std::ostream& operator<<(std::ostream& out, const AttentionCase& c) {
  return out << "position " << c.first_position << ", " << c.num_tokens << " tokens, group " << c.group << ", head_dim "
             << c.head_dim << ", window " << c.window << ", sinks " << c.num_sinks;
}

bool visible(const AttentionCase& c, int64_t key, int64_t query) {
  return key <= query && (c.window == 0 || key > query - c.window || key < c.num_sinks);
}

// A sequence in shuffled pages. Slots after the last position hold NaN, as another sequence's leftovers could; pages
// that no query sees have no place in memory.
class PagedSequence {
 public:
  PagedSequence(Random& random, const CpuKernels& kernels, KvType type, const AttentionCase& c)
      : case_(c), length_(c.first_position + c.num_tokens) {
    const size_t dim = static_cast<size_t>(c.head_dim);
    k_ = random_floats(random, static_cast<size_t>(length_) * dim, c.key_scale);
    v_ = random_floats(random, static_cast<size_t>(length_) * dim);
    const size_t num_pages = static_cast<size_t>((length_ + kPageSize - 1) / kPageSize);
    page_bytes_ = 2 * kPageSize * dim * (type == KvType::f32 ? 4 : 2);
    memory_ = GuardedArray<std::byte>(num_pages * page_bytes_);
    std::ranges::fill(memory_, std::byte{0xff});  // a NaN in both types
    for (size_t i = 0; i < num_pages; ++i) pages_.push_back(static_cast<int32_t>(i));
    std::ranges::shuffle(pages_, random);
    for (int64_t at = 0; at < length_; ++at) {
      kernels.store_kv[static_cast<int>(type)](k_.data() + at * dim, v_.data() + at * dim, dim, page(at / kPageSize),
                                               static_cast<size_t>(at % kPageSize));
    }
    if (type == KvType::f16) {
      for (float& x : k_) x = half_to_float(float_to_half(x));
      for (float& x : v_) x = half_to_float(float_to_half(x));
    }
    for (size_t i = 0; i < num_pages; ++i) {
      if (!page_visible(static_cast<int64_t>(i))) pages_[i] = -1;
    }
  }

  const std::byte* memory() const { return memory_.data(); }
  const int32_t* pages() const { return pages_.data(); }
  size_t page_bytes() const { return page_bytes_; }

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
        const double product = static_cast<double>(q[d]) * k_[key * dim + d];
        dot += product;
        products += std::fabs(product);
        largest_v = std::max(largest_v, std::fabs(static_cast<double>(v_[key * dim + d])));
      }
      scores.push_back(dot * softmax_scale);
      keys.push_back(key);
      max = std::max(max, scores.back());
      magnitude = std::max(magnitude, products * softmax_scale);
    }
    double sum = 0;
    out->assign(dim, 0);
    for (size_t i = 0; i < keys.size(); ++i) {
      const double p = std::exp(scores[i] - max);
      sum += p;
      for (size_t d = 0; d < dim; ++d) (*out)[d] += p * v_[keys[i] * dim + d];
    }
    for (double& x : *out) x /= sum;
    *tolerance = (2e-6 + 5e-7 * magnitude) * largest_v;
  }

 private:
  std::byte* page(int64_t index) const { return memory_.data() + static_cast<size_t>(pages_[index]) * page_bytes_; }
  bool page_visible(int64_t index) const {
    for (int64_t key = index * kPageSize; key < std::min((index + 1) * kPageSize, length_); ++key) {
      for (int t = 0; t < case_.num_tokens; ++t) {
        if (visible(case_, key, case_.first_position + t)) return true;
      }
    }
    return false;
  }

  AttentionCase case_;
  int64_t length_;
  GuardedArray<float> k_, v_;  // [length, head_dim] as stored
  size_t page_bytes_ = 0;
  GuardedArray<std::byte> memory_;
  std::vector<int32_t> pages_;
};

class AttentionTest : public testing::TestWithParam<std::tuple<CpuIsa, KvType>> {
 protected:
  KvType type() const { return std::get<1>(GetParam()); }

  GuardedArray<float> run(const AttentionCase& c, const PagedSequence& sequence, const GuardedArray<float>& q) const {
    const size_t stride = q_stride(c), rows = static_cast<size_t>(c.num_tokens) * c.group;
    GuardedArray<float> out(q.size()), scratch(attention_scratch_floats(rows, static_cast<size_t>(c.head_dim)));
    std::ranges::fill(out, -9.0f);
    std::ranges::fill(scratch, std::nanf(""));
    kernels_.attention[static_cast<int>(type())]({.q = q.data(),
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
                                                  .scratch = scratch.data()});
    return out;
  }

  void check(const AttentionCase& c) {
    SCOPED_TRACE(testing::Message() << c);
    const PagedSequence sequence(random_, kernels_, type(), c);
    const GuardedArray<float> q = random_floats(random_, q_floats(c)), out = run(c, sequence, q);
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
  static size_t q_stride(const AttentionCase& c) { return static_cast<size_t>(c.group) * c.head_dim + 1; }
  static size_t q_floats(const AttentionCase& c) {
    return (c.num_tokens - 1) * q_stride(c) + static_cast<size_t>(c.group) * c.head_dim;
  }

  const CpuKernels kernels_ = make_cpu_kernels(std::get<0>(GetParam()));
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

TEST_P(AttentionTest, StoreKvPutsEveryValueInItsPlace) {
  for (const int head_dim : {16, 48, 128}) {
    const size_t dim = static_cast<size_t>(head_dim), element = type() == KvType::f32 ? 4 : 2;
    for (const size_t slot : {0, 1, 31, 63}) {
      GuardedArray<float> k = random_floats(random_, dim), v = random_floats(random_, dim, 1e-6f);
      k[0] = 65519.0f, k[1] = -65520.0f, k[2] = 1e-8f, k[3] = -0.0f, v[4] = 6.1e-5f, v[5] = 2.9802322e-8f;
      GuardedArray<std::byte> page(2 * kPageSize * dim * element);
      std::ranges::fill(page, std::byte{0xab});
      GuardedArray<std::byte> expected = page.clone();
      for (size_t d = 0; d < dim; ++d) {
        const uint16_t k_half = float_to_half(k[d]), v_half = float_to_half(v[d]);
        const void* k_bytes = type() == KvType::f32 ? static_cast<const void*>(&k[d]) : &k_half;
        const void* v_bytes = type() == KvType::f32 ? static_cast<const void*>(&v[d]) : &v_half;
        std::memcpy(expected.data() + (d * kPageSize + slot) * element, k_bytes, element);
        std::memcpy(expected.data() + ((kPageSize + slot) * dim + d) * element, v_bytes, element);
      }
      kernels_.store_kv[static_cast<int>(type())](k.data(), v.data(), dim, page.data(), slot);
      ASSERT_EQ(std::memcmp(page.data(), expected.data(), page.size()), 0) << "head_dim " << dim << ", slot " << slot;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rungs, AttentionTest,
                         testing::Combine(testing::ValuesIn(runnable_rungs()),
                                          testing::Values(KvType::f32, KvType::f16)),
                         [](const auto& info) {
                           return std::string(cpu_isa_name(std::get<0>(info.param))) +
                                  (std::get<1>(info.param) == KvType::f32 ? "_f32" : "_f16");
                         });

}  // namespace

}  // namespace qwin
