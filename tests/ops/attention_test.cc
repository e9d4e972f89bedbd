// SPDX-License-Identifier: Apache-2.0
// Attention over a batch of sequences: chunks, batch-mates, threads and the place of the pages do not change a bit.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <random>
#include <span>

#include "core/cpu_info.h"
#include "ops/stored_blocks.h"

namespace qwin {

namespace {

// Wide channels of K for q8, a list a head.
constexpr int kNumWide = 4;
constexpr int16_t kWide[] = {3, 19, -1, -1, 0, 7, 16, 23};

constexpr int kHeads = 6, kKvHeads = 2, kHeadDim = 32;
constexpr size_t kLength = 600, kPages = 64;

struct Windows {
  int64_t request = 0, sinks = 0, layer = 0;
  MemoryPlan memory = {};
  int64_t chunk = 0;
};
constexpr Windows kWindows[] = {{}, {70, 4, 0}, {0, 0, 16}, {200, 64, 128}, {33, 0, 0}, {0, 0, 0, {}, 192}};
constexpr Windows kHybrids[] = {
    {64, 1, 0, {3, 0}}, {100, 64, 0, {9, 333}}, {64, 0, 0, {1000, 0}}, {64, 64, 40, {3, 0}}, {64, 1, 0, {5, 0}, 128}};

// Q, K and V of one sequence, [kLength, heads * head_dim]; Q for the keys of earlier chunks too.
struct Sequence {
  explicit Sequence(uint64_t seed) {
    std::mt19937_64 random(seed);
    for (auto* values : {&q, &previous, &earlier}) *values = random_values(random, kLength * kHeads * kHeadDim);
    k = random_values(random, kLength * kKvHeads * kHeadDim);
    v = random_values(random, kLength * kKvHeads * kHeadDim);
    for (size_t i = 0; i < kPages; ++i) pages.push_back(static_cast<int32_t>(i));
    std::ranges::shuffle(pages, random);
  }
  static Matrix rows(std::vector<float>& values, size_t first, size_t count) {
    const size_t columns = values.size() / kLength;
    return {values.data() + first * columns, count, columns, columns};
  }
  Queries queries(size_t first, size_t count, int64_t chunk) {
    return {rows(q, first, count), rows(previous, first, count), rows(earlier, first, count), chunk};
  }
  std::vector<float> q, previous, earlier, k, v;
  std::vector<int32_t> pages;
};

class Cache {
 public:
  explicit Cache(KvType type) : memory_(kPages * page_bytes(type)), type_(type) {}
  KvView view() const {
    const size_t head = head_bytes(type_), bounds = kKvHeads * head;
    return {memory_.data(), page_bytes(type_), head, bounds, type_, kKvHeads, kHeadDim, num_wide(type_), 0, kWide};
  }
  size_t bytes() const { return kPages * page_bytes(type_); }

 private:
  static int num_wide(KvType type) { return type == KvType::q8 ? kNumWide : 0; }
  static size_t head_bytes(KvType type) { return kv_page_layout(type, kHeadDim, num_wide(type)).bytes; }
  static size_t page_bytes(KvType type) { return kKvHeads * (head_bytes(type) + key_bounds_layout(kHeadDim, 0).bytes); }
  Buffer memory_;
  KvType type_;
};

// Reads the sequence in pieces of these sizes, the last one repeated.
std::vector<float> attend(OpsContext& context, Sequence& sequence, KvType type, const Windows& windows,
                          const std::vector<size_t>& pieces) {
  const Cache cache(type);
  std::vector<float> out(sequence.q.size());
  for (size_t first = 0, i = 0; first < kLength; ++i) {
    const size_t count = std::min(pieces[std::min(i, pieces.size() - 1)], kLength - first);
    const QueryRange range{sequence.pages.data(), static_cast<int64_t>(first), 0, count, windows.request, windows.sinks,
                           windows.memory};
    store_kv(context, Sequence::rows(sequence.k, first, count), Sequence::rows(sequence.v, first, count), cache.view(),
             {&range, 1});
    attention(context, sequence.queries(first, count, windows.chunk), cache.view(), {&range, 1}, windows.layer,
              Sequence::rows(out, first, count));
    first += count;
  }
  return out;
}

class AttentionOpTest : public testing::TestWithParam<CpuIsa> {};

TEST_P(AttentionOpTest, ChunkedPrefillAndDecodeEqualOneShot) {
  Sequence sequence(1);
  OpsContext one(GetParam(), 1, {}), two(GetParam(), 2, {});
  for (const KvType type : {KvType::f32, KvType::f16, KvType::q8}) {
    for (const Windows& windows : kWindows) {
      const std::vector<float> whole = attend(one, sequence, type, windows, {kLength});
      for (const std::vector<size_t>& pieces : {std::vector<size_t>{63, 1, 2, 64}, {250, 1}, {17}, {128, 7, 31}}) {
        ASSERT_EQ(attend(two, sequence, type, windows, pieces), whole)
            << "pieces of " << pieces[0] << ", window " << windows.request;
      }
    }
    for (const Windows& windows : kHybrids) {
      const std::vector<float> whole = attend(one, sequence, type, windows, {kLength});
      for (const std::vector<size_t>& pieces : {std::vector<size_t>{63, 1, 2, 64}, {250, 1}, {15, 17}}) {
        ASSERT_EQ(attend(two, sequence, type, windows, pieces), whole)
            << "pieces of " << pieces[0] << ", memory " << windows.memory.top_k;
      }
    }
  }
}

TEST_P(AttentionOpTest, EqualsDoubleArithmeticOfTheVisibleKeys) {
  Sequence sequence(2);
  OpsContext context(GetParam(), 2, {});
  for (const Windows& windows : kWindows) {
    const std::vector<float> out = attend(context, sequence, KvType::f32, windows, {100});
    const int64_t window = windows.request == 0 || windows.layer == 0 ? std::max(windows.request, windows.layer)
                                                                      : std::min(windows.request, windows.layer);
    for (const int64_t query : {0, 3, 63, 64, 100, 199, 299, 500}) {
      for (int head = 0; head < kHeads; ++head) {
        std::vector<double> sum(kHeadDim);
        double total = 0;
        for (int64_t key = 0; key <= query; ++key) {
          if (window > 0 && key <= query - window && key >= windows.sinks) continue;
          const size_t at = static_cast<size_t>(key * kKvHeads + head / (kHeads / kKvHeads)) * kHeadDim;
          const int64_t distance = windows.chunk == 0 ? 0 : query / windows.chunk - key / windows.chunk;
          const auto& queries = distance == 0 ? sequence.q : distance == 1 ? sequence.previous : sequence.earlier;
          const float* q = queries.data() + (query * kHeads + head) * kHeadDim;
          double dot = 0;
          for (int d = 0; d < kHeadDim; ++d) dot += static_cast<double>(q[d]) * sequence.k[at + d];
          const double p = std::exp(dot / std::sqrt(static_cast<double>(kHeadDim)));
          total += p;
          for (int d = 0; d < kHeadDim; ++d) sum[d] += p * sequence.v[at + d];
        }
        for (int d = 0; d < kHeadDim; ++d)
          ASSERT_NEAR(out[(query * kHeads + head) * kHeadDim + d], sum[d] / total, 2e-5)
              << "query " << query << ", head " << head;
      }
    }
  }
}

// A layer's own window wins: memory would show it what it never saw.
TEST_P(AttentionOpTest, ALayerWithAWindowOfItsOwnHasNoMemory) {
  Sequence sequence(3);
  OpsContext context(GetParam(), 1, {});
  EXPECT_EQ(attend(context, sequence, KvType::f16, {64, 64, 40, {3, 0}}, {100}),
            attend(context, sequence, KvType::f16, {0, 0, 40}, {100}));
}

// Three sequences at different positions in one call, with windows of their own.
TEST_P(AttentionOpTest, BatchMatesDoNotChangeABit) {
  OpsContext context(GetParam(), 2, {});
  Sequence a(1), b(2), c(3);
  Sequence* sequences[] = {&a, &b, &c};
  const Windows windows[] = {{}, {70, 4, 0}, {64, 0, 0, {3, 0}}};
  const size_t firsts[] = {130, 64, 399}, counts[] = {20, 37, 1};
  const Cache caches[] = {Cache(KvType::f16), Cache(KvType::f16), Cache(KvType::f16)};
  // All pages in one store: sequence i owns the ids 64 i … 64 i + 63.
  const size_t page_stride = caches[0].view().page_stride;
  const Buffer memory(3 * kPages * page_stride);
  KvView view = caches[0].view();
  view.base = memory.data();
  std::vector<float> q, expected;
  std::vector<QueryRange> ranges;
  for (size_t i = 0; i < 3; ++i) {
    Sequence& s = *sequences[i];
    for (int32_t& page : s.pages) page += static_cast<int32_t>(i * kPages);
    const QueryRange all{s.pages.data(),   0, 0, firsts[i] + counts[i], windows[i].request, windows[i].sinks,
                         windows[i].memory};
    store_kv(context, Sequence::rows(s.k, 0, all.num_tokens), Sequence::rows(s.v, 0, all.num_tokens), view, {&all, 1});
    ranges.push_back({s.pages.data(), static_cast<int64_t>(firsts[i]), q.size() / (kHeads * kHeadDim), counts[i],
                      windows[i].request, windows[i].sinks, windows[i].memory});
    const Matrix rows = Sequence::rows(s.q, firsts[i], counts[i]);
    q.insert(q.end(), rows.data, rows.data + counts[i] * rows.columns);
    std::vector<float> alone(counts[i] * rows.columns);
    QueryRange range = ranges.back();
    range.first_row = 0;
    attention(context, rows, view, {&range, 1}, 0, {alone.data(), counts[i], rows.columns, rows.columns});
    expected.insert(expected.end(), alone.begin(), alone.end());
  }
  const size_t columns = kHeads * kHeadDim, rows = q.size() / columns;
  std::vector<float> out(q.size());
  attention(context, Matrix{q.data(), rows, columns, columns}, view, ranges, 0, {out.data(), rows, columns, columns});
  EXPECT_EQ(out, expected);
}

// Memory without numbers, into which comes what attention says it will read.
class Disk : public KvFetcher {
 public:
  explicit Disk(const Cache& from) : from_(from), memory_(from.bytes()) {
    std::memset(memory_.data(), 0xff, memory_.size());
  }
  KvView view() {
    KvView view = from_.view();
    view.base = memory_.data();
    view.fetcher = this;
    return view;
  }
  void will_read(const std::byte* data, size_t bytes) override {
    const std::lock_guard lock(mutex_);
    fetched_ += bytes;
    std::memcpy(memory_.data() + (data - memory_.data()), from_.view().base + (data - memory_.data()), bytes);
  }
  size_t fetched() const { return fetched_; }

 private:
  const Cache& from_;
  Buffer memory_;
  std::mutex mutex_;
  size_t fetched_ = 0;
};

TEST_P(AttentionOpTest, SaysWhatItWillReadAndReadsNothingElse) {
  Sequence sequence(4);
  OpsContext context(GetParam(), 2, {});
  const auto check = [&](KvType type, const Windows& windows, size_t count, std::span<const int32_t> global_parts) {
    const Cache cache(type);
    const QueryRange all{sequence.pages.data(), 0, 0, kLength};
    store_kv(context, Sequence::rows(sequence.k, 0, kLength), Sequence::rows(sequence.v, 0, kLength), cache.view(),
             {&all, 1});
    Disk disk(cache);
    const size_t first = kLength - count;
    const QueryRange range{.pages = sequence.pages.data(),
                           .first_position = static_cast<int64_t>(first),
                           .num_tokens = count,
                           .window = windows.request,
                           .num_sinks = windows.sinks,
                           .memory = windows.memory,
                           .global_parts = global_parts};
    std::vector<float> expected(count * kHeads * kHeadDim), out(expected.size());
    const Queries q = sequence.queries(first, count, windows.chunk);
    attention(context, q, cache.view(), {&range, 1}, windows.layer,
              {expected.data(), count, kHeads * kHeadDim, kHeads * kHeadDim});
    attention(context, q, disk.view(), {&range, 1}, windows.layer,
              {out.data(), count, kHeads * kHeadDim, kHeads * kHeadDim});
    EXPECT_EQ(out, expected) << "window " << windows.request << ", memory " << windows.memory.top_k;
    return disk.fetched();
  };
  const int32_t parts[] = {7, 8, 20};
  for (const KvType type : {KvType::f32, KvType::f16, KvType::q8}) {
    for (const size_t count : {1, 40}) {
      for (const Windows& windows : kWindows) check(type, windows, count, {});
      for (const Windows& windows : kHybrids) check(type, windows, count, parts);
    }
    // The sinks' page, two of the window, the bounds of the seven between them, and of these one part.
    const KvPageLayout layout = kv_page_layout(type, kHeadDim, type == KvType::q8 ? kNumWide : 0);
    const size_t keys = type == KvType::q8 ? layout.k_scales : layout.bytes, part = keys / 4 + (layout.bytes - keys);
    EXPECT_EQ(check(type, {64, 64, 0, {1, 0}}, 1, {}),
              kKvHeads * (3 * layout.bytes + 7 * key_bounds_layout(kHeadDim, 0).bytes + part));
  }
}

INSTANTIATE_TEST_SUITE_P(Rungs, AttentionOpTest, testing::Values(CpuIsa::reference, detect_cpu_isa()),
                         [](const auto& info) { return std::string(info.index == 0 ? "reference" : "fastest"); });

}  // namespace

}  // namespace qwin
