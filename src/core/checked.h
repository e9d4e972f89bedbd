// SPDX-License-Identifier: Apache-2.0
// Arithmetic on numbers that come from files: every wrap is an Error, never a silent small value.
#pragma once

#include <cstdint>
#include <string>

#include "qwin/error.h"

namespace qwin {

inline uint64_t checked_add(uint64_t a, uint64_t b, const char* what) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) throw Error(ErrorCode::overflow, std::string(what) + ": sum wraps");
  return sum;
}

inline uint64_t checked_mul(uint64_t a, uint64_t b, const char* what) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) throw Error(ErrorCode::overflow, std::string(what) + ": product wraps");
  return product;
}

// The next multiple of `alignment`, a power of two.
inline uint64_t checked_align_up(uint64_t value, uint64_t alignment, const char* what) {
  return checked_add(value, alignment - 1, what) & ~(alignment - 1);
}

}  // namespace qwin
