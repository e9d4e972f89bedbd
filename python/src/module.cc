// SPDX-License-Identifier: Apache-2.0
#include "bindings.h"
#include "qwin/version.h"
#include "released_gil.h"

NB_MODULE(_core, module) {
  // A daemon thread may hold an engine when the interpreter ends: no fault of anybody's.
  nanobind::set_leak_warnings(false);
  module.attr("__version__") = qwin::kVersion;
  module.def("calls_without_gil", &qwin::python::ReleasedGil::number);
  qwin::python::bind_errors(module);
  qwin::python::bind_stream(module);
  qwin::python::bind_engine(module);
  qwin::python::bind_document(module);
  qwin::python::bind_hub(module);
}
