// SPDX-License-Identifier: Apache-2.0
// exp for vectors: range reduction by ln 2 in two parts, then the degree-6 polynomial of Cephes' expf; error below 2
// ulp. Include after the ISA's vector type.
#pragma once

namespace qwin {
namespace {

// Requires: x <= 0 (softmax) or the caller bounds it below 88.
inline Isa::Float exp_vector(Isa::Float x) {
  const Isa::Float lowest = Isa::set_float(-87.0f);
  const Isa::Float n = Isa::round(Isa::mul_float(x, Isa::set_float(1.44269504088896341f)));
  Isa::Float r = Isa::fnma(n, Isa::set_float(0.693359375f), x);
  r = Isa::fnma(n, Isa::set_float(-2.12194440e-4f), r);
  Isa::Float p = Isa::set_float(1.9875691500e-4f);
  p = Isa::fma(p, r, Isa::set_float(1.3981999507e-3f));
  p = Isa::fma(p, r, Isa::set_float(8.3334519073e-3f));
  p = Isa::fma(p, r, Isa::set_float(4.1665795894e-2f));
  p = Isa::fma(p, r, Isa::set_float(1.6666665459e-1f));
  p = Isa::fma(p, r, Isa::set_float(5.0000001201e-1f));
  p = Isa::fma(p, Isa::mul_float(r, r), r);
  p = Isa::add_float(p, Isa::set_float(1.0f));
  return Isa::zero_below(x, lowest, Isa::scale_by_power(p, n));  // also for -infinity
}

constexpr int kLaneParts = 16 / Isa::kRows;  // vectors that make up the 16 lanes of a long sum

inline float reduce_lanes(const Isa::Float (&lanes)[kLaneParts]) {
  if constexpr (kLaneParts == 2) return Isa::reduce_add(Isa::add_float(lanes[0], lanes[1]));
  return Isa::reduce_add(lanes[0]);
}

}  // namespace
}  // namespace qwin
