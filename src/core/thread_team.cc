// SPDX-License-Identifier: Apache-2.0
#include "core/thread_team.h"

#include <pthread.h>
#include <sched.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/check.h"

namespace qwin {

namespace {

// About 30 us: longer than the serial stretch between two calls of a decode step, shorter than anyone would notice.
constexpr int kSpins = 4000;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins, then sleeps, until `value` no longer equals `old`.
void wait_while_equal(std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

void pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);  // refused in some sandboxes: then the kernel chooses
}

}  // namespace

ThreadTeam::ThreadTeam(int num_threads, std::vector<int> cores)
    : num_threads_(num_threads < 1 ? 1 : num_threads), stretches_(static_cast<size_t>(num_threads_)) {
  const bool pinned = !cores.empty() && static_cast<size_t>(num_threads_) >= cores.size();
  for (int member = 1; member < num_threads_; ++member) {
    const int core = !pinned ? -1 : cores[static_cast<size_t>(member) % cores.size()];
    workers_.emplace_back([this, member, core] { work(member, core); });
  }
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::start(Entry entry, void* context) {
  entry_ = entry;
  context_ = context;
  pending_.store(static_cast<uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  entry(context, 0);
  for (uint32_t left = pending_.load(std::memory_order_acquire); left != 0;
       left = pending_.load(std::memory_order_acquire)) {
    wait_while_equal(pending_, left);
  }
}

bool ThreadTeam::Stretch::take_first(size_t& piece) {
  uint64_t old = left.load(std::memory_order_relaxed);
  do {
    piece = static_cast<uint32_t>(old);
    if (piece >= old >> 32) return false;
  } while (!left.compare_exchange_weak(old, old + 1, std::memory_order_relaxed));
  return true;
}

bool ThreadTeam::Stretch::take_last(size_t& piece) {
  uint64_t old = left.load(std::memory_order_relaxed);
  do {
    if (static_cast<uint32_t>(old) >= old >> 32) return false;
    piece = (old >> 32) - 1;
  } while (!left.compare_exchange_weak(old, old - (uint64_t{1} << 32), std::memory_order_relaxed));
  return true;
}

void ThreadTeam::share(size_t pieces) {
  QWIN_CHECK(pieces <= UINT32_MAX);
  const auto members = static_cast<size_t>(num_threads_);
  for (size_t i = 0; i < members; ++i) {
    const uint64_t begin = pieces * i / members, end = pieces * (i + 1) / members;
    stretches_[i].left.store(begin | end << 32, std::memory_order_relaxed);
  }
}

bool ThreadTeam::take(int member, size_t& piece) {
  const auto own = static_cast<size_t>(member), members = stretches_.size();
  if (stretches_[own].take_first(piece)) return true;
  for (size_t i = 1; i < members; ++i) {
    if (stretches_[(own + i) % members].take_last(piece)) return true;
  }
  return false;
}

void ThreadTeam::work(int member, int core) {
  if (core >= 0) pin_to(core);
  uint32_t seen = 0;
  for (;;) {
    wait_while_equal(epoch_, seen);
    ++seen;
    if (stop_.load(std::memory_order_relaxed)) return;
    entry_(context_, member);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

}  // namespace qwin
