// SPDX-License-Identifier: Apache-2.0
// kernel_check runs the kernel tests (GoogleTest's flags apply); kernel_check --bench [SUBSTRING] times the same
// kernels instead: ns a call, bytes read a second, and multiply-adds a second, for every rung this CPU runs.
// kernel_check --bench-memory [SUBSTRING] times the integer GEMM of the highest rung where the weights come from memory
// and every core takes part, beside plain reading of the same bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "core/buffer.h"
#include "core/cpu_info.h"
#include "core/thread_team.h"
#include "kernels/kernel_cases.h"
#include "kernels/peak_kernels.h"

namespace qwin {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& call, int repeats) {
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < repeats; ++i) call();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Bench {
 public:
  explicit Bench(std::string filter) : filter_(std::move(filter)) {
    std::printf("%-34s %-12s %12s %9s %9s\n", "kernel", "rung", "ns", "GB/s", "GMAC/s");
  }

  // The best of five rounds of some 20 ms: other processes can only slow a round down.
  void time(const std::string& kernel, const char* rung, double bytes, double macs, const std::function<void()>& call) {
    if ((kernel + " " + rung).find(filter_) == std::string::npos) return;
    const double once = std::max(seconds_of(call, 1), 1e-9);
    const int repeats = std::max(1, static_cast<int>(0.02 / once));
    double best = once;
    for (int round = 0; round < 5; ++round) best = std::min(best, seconds_of(call, repeats) / repeats);
    std::printf("%-34s %-12s %12.0f %9.2f %9.2f\n", kernel.c_str(), rung, best * 1e9, bytes / best * 1e-9,
                macs / best * 1e-9);
    std::fflush(stdout);
  }

 private:
  std::string filter_;
};

struct GemmCall {
  GemmCall(Random& random, const NamedFormat& named, int tokens, int spans, size_t rows)
      : input(make_input(random, tokens, spans, RowPattern::all_plus)),
        sums(input, named.format),
        out(static_cast<size_t>(tokens) * rows) {
    args = {.weights = nullptr,
            .tile_bytes = tile_bytes_of(named.format, spans),
            .num_spans = spans,
            .num_tokens = tokens,
            .x = input.rows(),
            .zero_sums = sums.zero_sums.data(),
            .min_sums = sums.min_sums.data(),
            .bias = nullptr,
            .residual = nullptr,
            .out = out.data(),
            .out_stride = rows,
            .num_rows = static_cast<int>(rows),
            .scratch = nullptr};
  }

  QuantizedInput input;
  GroupSums sums;
  GuardedArray<float> out;
  GemmArgs args;
};

// 512 rows of 1536 columns: the codes stay in the L2 cache, as a tile's do while tokens pass.
void bench_gemm(Bench& bench, const CpuKernels& kernels, const NamedFormat& named) {
  constexpr int kRows = 512, kSpans = 12;
  Random random(1);
  const GuardedArray<uint8_t> tiles = make_tiles(random, named.format, kRows, kSpans, WeightPattern::random);
  for (const int tokens : {1, 2, 4, 8, 16, 32, 64, 256}) {
    GemmCall call(random, named, tokens, kSpans, kRows);
    GuardedArray<float> scratch(gemm_scratch_floats(static_cast<size_t>(tokens)));
    call.args.weights = reinterpret_cast<const std::byte*>(tiles.data());
    call.args.scratch = scratch.data();
    const GemmTilesFn kernel = kernels.gemm_tiles[static_cast<int>(named.format)];
    bench.time("gemm_tiles " + std::string(named.name) + " T=" + std::to_string(tokens), kernels.name,
               static_cast<double>(tiles.size()), 1.0 * tokens * kRows * kSpans * kSpan,
               [&] { kernel(call.args, 0, kRows / kTileRows); });
  }
}

// 300 MiB of weights, 1536 columns, as the linear layers read them.
void bench_from_memory(const NamedFormat& named, ThreadTeam& team, const Buffer& memory, const CpuKernels& kernels) {
  constexpr int kSpans = 12;
  constexpr size_t kGrain = 64;
  Random random(5);
  const size_t tile_bytes = tile_bytes_of(named.format, kSpans), num_tiles = memory.size() / tile_bytes;
  const GuardedArray<uint8_t> tile = make_tiles(random, named.format, kTileRows, kSpans, WeightPattern::random);
  team.for_each(num_tiles, kGrain, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) std::memcpy(memory.data() + i * tile_bytes, tile.data(), tile_bytes);
  });
  std::printf("%-8s", named.name);
  for (const int tokens : {1, 2, 4, 8, 16, 32}) {
    GemmCall call(random, named, tokens, kSpans, num_tiles * kTileRows);
    call.args.weights = memory.data();
    const size_t scratch_floats = gemm_scratch_floats(static_cast<size_t>(tokens));
    GuardedArray<float> scratch(scratch_floats * static_cast<size_t>(team.size()));
    double best = 1e9;
    for (int round = 0; round < 5; ++round) {
      best = std::min(best, seconds_of(
                                [&] {
                                  team.for_each(num_tiles, kGrain, [&](size_t begin, size_t end, int member) {
                                    GemmArgs args = call.args;
                                    args.scratch = scratch.data() + static_cast<size_t>(member) * scratch_floats;
                                    kernels.gemm_tiles[static_cast<int>(named.format)](args, begin, end);
                                  });
                                },
                                1));
    }
    const double bytes = static_cast<double>(num_tiles * tile_bytes);
    std::printf("  %6.1f %6.0f", bytes / best * 1e-9,
                static_cast<double>(num_tiles) * kTileRows * kSpans * kSpan * tokens / best * 1e-9);
    std::fflush(stdout);
  }
  std::printf("\n");
}

double plain_reading(ThreadTeam& team, const Buffer& memory) {
  const PeakKernels peaks = make_peak_kernels(detect_cpu_isa());
  std::vector<uint64_t> sinks(static_cast<size_t>(team.size()) * 8);
  double best = 1e9;
  for (int round = 0; round < 5 * kNumReadSweeps; ++round) {
    const auto sweep = [&](size_t begin, size_t end, int member) {
      sinks[static_cast<size_t>(member) * 8] ^=
          peaks.read[round % kNumReadSweeps](memory.data() + begin * kHugePageSize, (end - begin) * kHugePageSize);
    };
    best = std::min(best, seconds_of([&] { team.for_each(memory.size() / kHugePageSize, 8, sweep); }, 1));
  }
  return static_cast<double>(memory.size()) / best * 1e-9;
}

void run_memory_bench(const std::string& filter) {
  const CpuTopology topology = cpu_topology();
  ThreadTeam team(static_cast<int>(topology.cores.size()), topology.cores);
  const Buffer memory(300 * (size_t{1} << 20));
  const CpuKernels kernels = make_cpu_kernels(detect_cpu_isa());
  std::printf("%s, %d threads; GB/s and GMAC/s for 1, 2, 4, 8, 16 and 32 tokens\n", kernels.name, team.size());
  for (const NamedFormat& named : kPackedFormats) {
    if (std::string(named.name).find(filter) != std::string::npos) bench_from_memory(named, team, memory, kernels);
  }
  std::printf("plain reading %.1f GB/s\n", plain_reading(team, memory));
}

void bench_rows(Bench& bench, const CpuKernels& kernels) {
  constexpr size_t kColumns = 1536;
  Random random(2);
  const GuardedArray<float> x = random_floats(random, kColumns), weight = random_floats(random, kColumns);
  GuardedArray<float> out(kColumns);
  const QuantizedInput row(1, kColumns / kSpan);
  const double bytes = kColumns * sizeof(float);
  bench.time("quantize_row 1536", kernels.name, bytes, 0,
             [&] { kernels.quantize_row(x.data(), kColumns, row.rows()); });
  bench.time("rms_norm 1536", kernels.name, bytes, 0,
             [&] { kernels.rms_norm(x.data(), weight.data(), kColumns, 1e-6f, out.data()); });
  bench.time("silu_mul 1536", kernels.name, 2 * bytes, 0,
             [&] { kernels.silu_mul(x.data(), weight.data(), kColumns, out.data()); });
  bench.time("rope 128", kernels.name, 128 * sizeof(float), 0,
             [&] { kernels.rope(out.data(), x.data(), weight.data(), 64); });
}

void bench_gemm_f32(Bench& bench, const CpuKernels& kernels) {
  constexpr size_t kColumns = 1536;
  constexpr int kRows = 16;
  Random random(3);
  const GuardedArray<float> w = random_floats(random, kRows * kColumns);
  for (const int tokens : {1, 16}) {
    const GuardedArray<float> x = random_floats(random, tokens * kColumns);
    GuardedArray<float> out(static_cast<size_t>(tokens) * kRows);
    const GemmF32Args args{.w = w.data(),
                           .x = x.data(),
                           .x_stride = kColumns,
                           .k = kColumns,
                           .num_rows = kRows,
                           .num_tokens = tokens,
                           .bias = nullptr,
                           .residual = nullptr,
                           .out = out.data(),
                           .out_stride = kRows};
    bench.time("gemm_f32 T=" + std::to_string(tokens), kernels.name, static_cast<double>(w.size()) * sizeof(float),
               1.0 * tokens * kRows * kColumns, [&] { kernels.gemm_f32(args); });
  }
}

void bench_attention(Bench& bench, const CpuKernels& kernels, KvType type) {
  constexpr int64_t kPosition = 2048;
  constexpr int kHeadDim = 128, kGroup = 6;
  static constexpr int16_t kWide[] = {60, 61, 124, 125};
  const WideChannels wide{kWide, type == KvType::q8 ? 4 : 0};
  const size_t page_bytes = kv_page_layout(type, kHeadDim, wide.count).bytes, num_pages = kPosition / kPageSize + 1;
  Random random(4);
  const GuardedArray<std::byte> memory(num_pages * page_bytes);
  std::vector<int32_t> pages(num_pages);
  for (size_t i = 0; i < num_pages; ++i) pages[i] = static_cast<int32_t>(num_pages - 1 - i);
  const std::string name = std::string("attention ") + kv_type_name(type);
  const GuardedArray<float> k = random_floats(random, kHeadDim), v = random_floats(random, kHeadDim);
  for (size_t slot = 0; slot < num_pages * kPageSize; ++slot) {
    kernels.store_kv[static_cast<int>(type)](k.data(), v.data(), kHeadDim, wide,
                                             memory.data() + slot / kPageSize * page_bytes, slot % kPageSize);
  }
  for (const int tokens : {1, 16}) {
    const GuardedArray<float> q = random_floats(random, static_cast<size_t>(tokens) * kGroup * kHeadDim);
    GuardedArray<float> out(q.size()),
        scratch(attention_scratch_floats(static_cast<size_t>(tokens) * kGroup, kHeadDim, wide.count));
    const AttentionArgs args{.q = q.data(),
                             .q_stride = kGroup * kHeadDim,
                             .out = out.data(),
                             .out_stride = kGroup * kHeadDim,
                             .base = memory.data(),
                             .pages = pages.data(),
                             .page_stride = page_bytes,
                             .num_tokens = tokens,
                             .first_position = kPosition,
                             .group = kGroup,
                             .head_dim = kHeadDim,
                             .window = 0,
                             .num_sinks = 0,
                             .softmax_scale = 1 / std::sqrt(static_cast<float>(kHeadDim)),
                             .wide = wide,
                             .scratch = scratch.data()};
    bench.time(name + " 2k keys, T=" + std::to_string(tokens), kernels.name,
               static_cast<double>(kPosition) / kPageSize * page_bytes, 2.0 * tokens * kGroup * kPosition * kHeadDim,
               [&] { kernels.attention[static_cast<int>(type)](args, 0, visible_splits(args).count, nullptr); });
  }
  bench.time(std::string("store_kv ") + kv_type_name(type), kernels.name, 2 * kHeadDim * sizeof(float), 0,
             [&] { kernels.store_kv[static_cast<int>(type)](k.data(), v.data(), kHeadDim, wide, memory.data(), 17); });
}

// One token of a KV head of the 0.5B or the 1.5B at 32,000 positions; bounds of random keys.
void bench_choice(Bench& bench, const CpuKernels& kernels, int group, int head_dim) {
  constexpr int64_t kPages = 500;
  constexpr int32_t kTopK = 384;
  constexpr int16_t kWide[] = {0, 1, 2, 3};
  const WideChannels wide{kWide, 4, 4};
  const auto dim = static_cast<size_t>(head_dim);
  const size_t keys_bytes = kv_page_layout(KvType::f16, dim, 4).bytes, bounds_bytes = key_bounds_layout(dim, 4).bytes;
  Random random(5);
  GuardedArray<std::byte> keys(keys_bytes), bounds(kPages * bounds_bytes);
  std::vector<int32_t> pages(kPages), parts(kTopK);
  for (int32_t page = 0; page < kPages; ++page) {
    pages[page] = kPages - 1 - page;
    for (size_t slot = 0; slot < kPageSize; ++slot) {
      const GuardedArray<float> k = random_floats(random, dim);
      kernels.store_kv[static_cast<int>(KvType::f16)](k.data(), k.data(), dim, wide, keys.data(), slot);
    }
    for (int part = 0; part < kPageParts; ++part)
      kernels.bound_keys[static_cast<int>(KvType::f16)](keys.data(), dim, wide, part,
                                                        bounds.data() + page * bounds_bytes);
  }
  const GuardedArray<float> q = random_floats(random, group * dim);
  GuardedArray<float> scratch(choice_scratch_floats(group, dim, 4, kPages));
  const AttentionArgs args{.q = q.data(),
                           .q_stride = group * dim,
                           .out = nullptr,
                           .out_stride = 0,
                           .base = bounds.data(),
                           .pages = pages.data(),
                           .page_stride = bounds_bytes,
                           .num_tokens = 1,
                           .first_position = kPages * kPageSize - 1,
                           .group = group,
                           .head_dim = head_dim,
                           .window = 1024,
                           .num_sinks = 64,
                           .softmax_scale = 1 / std::sqrt(static_cast<float>(head_dim)),
                           .wide = wide,
                           .scratch = scratch.data(),
                           .memory = {.top_k = kTopK}};
  const PageRange range = memory_pages(args, args.first_position);
  const auto seen = static_cast<double>(range.end - range.begin);
  bench.time("choose_memory 32k, " + std::to_string(group) + " x " + std::to_string(head_dim), kernels.name,
             seen * bounds_bytes, seen * kPageParts * group * head_dim,
             [&] { kernels.choose_memory(args, parts.data()); });
}

void run_bench(const std::string& filter) {
  Bench bench(filter);
  for (const CpuIsa isa : runnable_rungs()) {
    const CpuKernels kernels = make_cpu_kernels(isa);
    for (const NamedFormat& named : kPackedFormats) bench_gemm(bench, kernels, named);
    bench_rows(bench, kernels);
    bench_gemm_f32(bench, kernels);
    for (const KvType type : kKvTypes) bench_attention(bench, kernels, type);
    bench_choice(bench, kernels, 7, 64);
    bench_choice(bench, kernels, 6, 128);
  }
}

}  // namespace

}  // namespace qwin

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--bench") == 0) {
    qwin::run_bench(argc > 2 ? argv[2] : "");
    return 0;
  }
  if (argc > 1 && std::strcmp(argv[1], "--bench-memory") == 0) {
    qwin::run_memory_bench(argc > 2 ? argv[2] : "");
    return 0;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
