// SPDX-License-Identifier: Apache-2.0
// What q8 does to one row: the scale of a row and the digits of its codes. Include after the ISA's vector type.
#pragma once

#include <stdint.h>

namespace qwin {
namespace {

constexpr float kMinScale = 1e-30f;  // below it a reciprocal could be infinite: such a row is zero

inline Isa::Int high_digits(Isa::Int codes) { return Isa::shift_right32(Isa::add(codes, Isa::set_int(128)), 8); }
inline Isa::Int low_digits(Isa::Int codes) { return Isa::sub(codes, Isa::shift_left32(high_digits(codes), 8)); }

inline bool is_finite(float x) { return __builtin_fabsf(x) <= __FLT_MAX__; }
inline bool all_finite(const float* x, size_t n) {
  bool finite = true;
  for (size_t i = 0; i < n; ++i) finite &= is_finite(x[i]);
  return finite;
}
inline float largest_magnitude(const float* x, size_t n) {
  Isa::Float max = Isa::zero_float();
  for (size_t i = 0; i < n; i += Isa::kRows) max = Isa::max(Isa::abs(Isa::load_float(x + i)), max);
  return Isa::reduce_max(max);
}

}  // namespace
}  // namespace qwin
