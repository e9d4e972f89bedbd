// SPDX-License-Identifier: Apache-2.0
// What one rendering may cost: steps, CPU time and bytes held. A template comes from a model file, so it is not
// trusted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qwin::jinja {

inline constexpr uint64_t kMaxSteps = 5'000'000;
inline constexpr int64_t kMaxCpuNanoseconds = 500'000'000;
inline constexpr size_t kMaxBytes = size_t{64} << 20;
inline constexpr int kMaxDepth = 200;            // nested evaluation, macro calls included
inline constexpr int kMaxValueDepth = 100;       // lists in lists
inline constexpr int kMaxRangeLength = 100'000;  // as jinja2's sandbox

// One rendering's account; used by one thread. Every overdraft throws Error(invalid_argument).
class Budget {
 public:
  Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void step(uint64_t steps = 1) {
    steps_ += steps;
    if (steps_ >= next_check_) check();
  }
  // Work in proportion to a text's bytes or a list's items.
  void work(size_t units) { step(1 + units / 64); }

  void allocate(size_t bytes) {
    if (bytes > kMaxBytes - bytes_) too_much_memory();
    bytes_ += bytes;
  }
  void release(size_t bytes) { bytes_ -= bytes; }

 private:
  void check();
  [[noreturn]] static void too_much_memory();

  uint64_t steps_ = 0;
  uint64_t next_check_ = 1024;
  size_t bytes_ = 0;
  int64_t deadline_;  // thread CPU clock, ns
};

// Bytes of one object, given back with it. A charge without a budget (constants of the template) counts nothing.
class Charge {
 public:
  explicit Charge(Budget* budget = nullptr) : budget_(budget) {}
  ~Charge() {
    if (budget_) budget_->release(bytes_);
  }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

  void set(size_t bytes) {
    if (!budget_) return;
    if (bytes > bytes_) budget_->allocate(bytes - bytes_);
    if (bytes < bytes_) budget_->release(bytes_ - bytes);
    bytes_ = bytes;
  }

 private:
  Budget* budget_;
  size_t bytes_ = 0;
};

}  // namespace qwin::jinja
