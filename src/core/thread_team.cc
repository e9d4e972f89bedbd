// SPDX-License-Identifier: Apache-2.0
#include "core/thread_team.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <string>
#include <system_error>

#include "core/check.h"
#include "qwin/error.h"

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
  try {
    for (int member = 1; member < num_threads_; ++member) {
      const int core = !pinned ? -1 : cores[static_cast<size_t>(member) % cores.size()];
      workers_.emplace_back([this, member, core] { work(member, core); });
    }
  } catch (const std::system_error&) {
    const size_t started = workers_.size();
    dismiss();
    throw Error(ErrorCode::does_not_fit, "of " + std::to_string(num_threads_) + " threads the system gives " +
                                             std::to_string(started + 1) + "; ask for fewer");
  }
}

ThreadTeam::~ThreadTeam() { dismiss(); }

void ThreadTeam::dismiss() {
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

// Up to `grain`, and no more than half of what is left: the first or the last of it.
bool ThreadTeam::Stretch::take(size_t grain, bool first, Piece& piece) {
  uint64_t old = left.load(std::memory_order_relaxed), now;
  do {
    const uint64_t begin = static_cast<uint32_t>(old), end = old >> 32;
    if (begin >= end) return false;
    const uint64_t size = std::min<uint64_t>(grain, (end - begin + 1) / 2);
    piece = first ? Piece{begin, begin + size} : Piece{end - size, end};
    now = first ? piece.end | end << 32 : begin | piece.begin << 32;
  } while (!left.compare_exchange_weak(old, now, std::memory_order_relaxed));
  return true;
}

void ThreadTeam::share(size_t count) {
  QWIN_CHECK(count <= UINT32_MAX);
  const auto members = static_cast<size_t>(num_threads_);
  for (size_t i = 0; i < members; ++i) {
    const uint64_t begin = count * i / members, end = count * (i + 1) / members;
    stretches_[i].left.store(begin | end << 32, std::memory_order_relaxed);
  }
}

bool ThreadTeam::take(int member, size_t grain, Piece& piece) {
  const auto own = static_cast<size_t>(member), members = stretches_.size();
  if (stretches_[own].take(grain, true, piece)) return true;
  for (size_t i = 1; i < members; ++i) {
    if (stretches_[(own + i) % members].take(grain, false, piece)) return true;
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
