// SPDX-License-Identifier: Apache-2.0
// Dictionaries from qwin.Engine and qwin.SamplingParams to the structs of include/qwin; what is absent keeps its value.
#pragma once

#include <string>

#include "bindings.h"
#include "qwin/engine.h"

namespace qwin::python {

// Throws Error(invalid_argument) naming what is of another type, or beyond what its type can hold.
template <typename T>
T cast_argument(const char* name, nb::handle value) {
  T result;
  if (nb::try_cast<T>(value, result)) return result;
  throw Error(ErrorCode::invalid_argument, std::string(name) + " cannot be " + nb::repr(value).c_str());
}

template <typename T>
void take(const nb::dict& from, const char* name, T& value) {
  if (from.contains(name)) value = cast_argument<T>(name, from[name]);
}

SamplingParams sampling_params(SamplingParams params, const nb::dict& values);
// All of a request but its prompt.
Request request_options(const Engine& engine, const nb::dict& sampling, const nb::dict& rest);
EngineOptions engine_options(const nb::dict& values);

}  // namespace qwin::python
