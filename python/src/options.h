// SPDX-License-Identifier: Apache-2.0
// Dictionaries from qwin.Engine and qwin.SamplingParams to the structs of include/qwin; what is absent keeps its value.
#pragma once

#include "bindings.h"
#include "qwin/engine.h"

namespace qwin::python {

template <typename T>
void take(const nb::dict& from, const char* name, T& value) {
  if (from.contains(name)) value = nb::cast<T>(from[name]);
}

SamplingParams sampling_params(SamplingParams params, const nb::dict& values);
EngineOptions engine_options(const nb::dict& values);

}  // namespace qwin::python
