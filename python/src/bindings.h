// SPDX-License-Identifier: Apache-2.0
// The classes of qwin._core; each file binds one. Only include/qwin is known here.
#pragma once

#include <nanobind/nanobind.h>

namespace qwin::python {

namespace nb = nanobind;

void bind_errors(nb::module_& module);
void bind_stream(nb::module_& module);
void bind_engine(nb::module_& module);
void bind_document(nb::module_& module);
void bind_hub(nb::module_& module);

}  // namespace qwin::python
