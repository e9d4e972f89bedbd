// SPDX-License-Identifier: Apache-2.0
#include "qwin/hub.h"

#include <nanobind/stl/string.h>

#include "bindings.h"
#include "released_gil.h"

namespace qwin::python {

void bind_hub(nb::module_& module) {
  module.def("find_model", &find_model, nb::arg("model"), nb::call_guard<ReleasedGil>());
  module.def(
      "pull",
      [](const std::string& name, const nb::object& progress) {
        std::function<void(uint64_t, uint64_t)> tell;
        if (!progress.is_none()) {
          tell = [&](uint64_t done, uint64_t total) {
            const nb::gil_scoped_acquire gil;
            if (PyErr_CheckSignals() != 0) throw nb::python_error();
            progress(done, total);
          };
        }
        const ReleasedGil released;
        return pull(name, tell);
      },
      nb::arg("name"), nb::arg("progress").none() = nb::none());
}

}  // namespace qwin::python
