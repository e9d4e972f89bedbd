// SPDX-License-Identifier: Apache-2.0
// Documents: files to text, text to segments, and the answer over all of them.
#include "qwin/document.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "dictionaries.h"
#include "engine_handle.h"
#include "options.h"
#include "released_gil.h"

namespace qwin::python {

namespace {

using Segments = std::vector<std::tuple<size_t, size_t, int64_t>>;

Segments to_tuples(const std::vector<DocumentSegment>& segments) {
  Segments tuples;
  for (const DocumentSegment& segment : segments) tuples.emplace_back(segment.begin, segment.end, segment.num_tokens);
  return tuples;
}

Segments split(const EngineHandle& handle, const std::string& text, int64_t segment_tokens, int64_t overlap) {
  const std::shared_ptr<Engine> engine = handle.engine();
  const ReleasedGil released;
  return to_tuples(split_document(*engine, text, segment_tokens, overlap));
}

DocumentOptions document_options(const nb::dict& values) {
  DocumentOptions options;
  std::string method = "segments";
  take(values, "method", method);
  options.method = document_method_of(method);
  take(values, "instruction", options.instruction);
  take(values, "reduce_instruction", options.reduce_instruction);
  take(values, "system", options.system);
  take(values, "raw", options.raw);
  take(values, "segment_tokens", options.segment_tokens);
  take(values, "overlap", options.overlap);
  take(values, "partial_answers", options.partial_answers);
  take(values, "journal", options.journal);
  return options;
}

nb::dict to_dict(const DocumentResult& result) {
  nb::dict dict;
  dict["text"] = result.text;
  dict["segments"] = to_tuples(result.segments);
  dict["partial_answers"] = result.partial_answers;
  dict["finish_reason"] = finish_reason_name(result.finish_reason);
  dict["prompt_tokens"] = result.prompt_tokens;
  dict["cached_tokens"] = result.cached_tokens;
  dict["completion_tokens"] = result.completion_tokens;
  dict["attention"] = python::to_dict(result.attention);
  return dict;
}

nb::dict process(const EngineHandle& handle, std::string text, const nb::dict& options, const nb::dict& sampling,
                 const nb::dict& rest, const nb::object& progress, const nb::object& on_text) {
  const std::shared_ptr<Engine> engine = handle.engine();
  DocumentOptions wanted = document_options(options);
  wanted.request = request_options(*engine, sampling, rest);
  DocumentEvents events;
  if (!progress.is_none()) {
    events.on_progress = [&](size_t done, size_t total) {
      const nb::gil_scoped_acquire gil;
      progress(done, total);
    };
  }
  if (!on_text.is_none()) {
    events.on_text = [&](std::string_view shown) {
      const nb::gil_scoped_acquire gil;
      on_text(std::string(shown));
    };
  }
  const auto tick = [] {
    const nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    return true;
  };
  const DocumentResult result = [&] {
    const ReleasedGil released;
    return process_document(*engine, std::move(text), std::move(wanted), std::move(events), tick);
  }();
  return to_dict(result);
}

}  // namespace

void bind_document(nb::module_& module) {
  module.def("read_document", &read_document, nb::arg("path"), nb::call_guard<ReleasedGil>());
  module.def("split_document", &split, nb::arg("engine"), nb::arg("text"), nb::arg("segment_tokens"),
             nb::arg("overlap"));
  module.def("process_document", &process, nb::arg("engine"), nb::arg("text"), nb::arg("options"), nb::arg("sampling"),
             nb::arg("rest"), nb::arg("progress").none(), nb::arg("on_text").none());
}

}  // namespace qwin::python
