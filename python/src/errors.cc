// SPDX-License-Identifier: Apache-2.0
// qwin::Error becomes the Python exception of its class, made by qwin.errors.
#include <nanobind/stl/string.h>

#include "bindings.h"
#include "qwin/error.h"

namespace qwin::python {

void bind_errors(nb::module_& module) {
  (void)module;
  nb::register_exception_translator(
      [](const std::exception_ptr& error, void*) {
        try {
          std::rethrow_exception(error);
        } catch (const Error& e) {
          const nb::object exception =
              nb::module_::import_("qwin.errors").attr("make_error")(error_code_name(e.code()), e.what());
          PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
        }
      },
      nullptr);
}

}  // namespace qwin::python
