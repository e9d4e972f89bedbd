// SPDX-License-Identifier: Apache-2.0
// A persistent team of pinned threads that runs one function at a time. A forward pass enters it some hundred times a
// token, so workers spin briefly between calls before they sleep in the kernel.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace qwin {

// Not thread-safe: one thread owns the team and takes part in every call as member 0.
class ThreadTeam {
 public:
  // A team that takes every one of `cores` pins member i to the i-th. A smaller one leaves the choice to the kernel:
  // two processes must not sit on the same core while others are idle.
  ThreadTeam(int num_threads, std::vector<int> cores);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return num_threads_; }

  // Runs body(member) on every member and returns when all are done. `body` must not throw.
  template <typename F>
  void run(F&& body) {
    if (num_threads_ == 1) return body(0);
    using Body = std::remove_reference_t<F>;
    start([](void* context, int member) { (*static_cast<Body*>(context))(member); },
          const_cast<std::remove_const_t<Body>*>(&body));
  }

  // Splits [0, count) into pieces of at most `grain` and runs body(begin, end, member) on each. A member has a stretch
  // of its own, which it takes in order, so that it reads memory in long streams (turns of 64 KiB cost a third of the
  // bandwidth); one that is done takes pieces from the end of the others'. Pieces grow smaller towards the end of a
  // stretch, so that members end together. Which member runs a piece is not fixed, nor where pieces begin: results must
  // not depend on it. Requires: count < 2^32.
  template <typename F>
  void for_each(size_t count, size_t grain, F&& body) {
    if (num_threads_ == 1 || count <= grain) {
      if (count > 0) body(size_t{0}, count, 0);
      return;
    }
    share(count);
    run([&](int member) {
      for (Piece piece; take(member, grain, piece);) body(piece.begin, piece.end, member);
    });
  }

 private:
  using Entry = void (*)(void* context, int member);
  void start(Entry entry, void* context);
  void work(int member, int core);
  void dismiss();

  struct Piece {
    size_t begin, end;
  };
  // What is left of a member's stretch, begin | end << 32.
  struct alignas(64) Stretch {
    std::atomic<uint64_t> left{0};
    bool take(size_t grain, bool first, Piece& piece);
  };
  void share(size_t count);
  bool take(int member, size_t grain, Piece& piece);

  const int num_threads_;
  Entry entry_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> epoch_{0};    // grows by one a call
  alignas(64) std::atomic<uint32_t> pending_{0};  // workers still inside the call
  std::atomic<bool> stop_{false};
  std::vector<Stretch> stretches_;  // [num_threads]
  std::vector<std::thread> workers_;
};

}  // namespace qwin
