// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>

namespace qwin::python {

// Lets go of the GIL for a scope. A thread that wants it back once the interpreter ends is ended in the middle of C++,
// and with it the process; so the end waits until nobody does (engine.py).
class ReleasedGil {
 public:
  ReleasedGil() = default;
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;

  static int number() { return number_; }

 private:
  static inline std::atomic<int> number_{0};
  struct Count {
    Count() { ++number_; }
    ~Count() { --number_; }
  };

  Count count_;  // ends after release_: with the GIL in hand
  nanobind::gil_scoped_release release_;
};

}  // namespace qwin::python
