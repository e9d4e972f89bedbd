// SPDX-License-Identifier: Apache-2.0
// qwin._core.Engine: the calls of the public C++ engine.
#include "qwin/engine.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dictionaries.h"
#include "engine_handle.h"
#include "options.h"
#include "released_gil.h"
#include "stream.h"

namespace qwin::python {

namespace {

// Anything that speaks DLPack or the buffer protocol.
using Weight = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

std::string dtype_name(nb::dlpack::dtype dtype) {
  const auto code = static_cast<nb::dlpack::dtype_code>(dtype.code);
  const std::string bits = std::to_string(dtype.bits);
  if (code == nb::dlpack::dtype_code::Float) return "F" + bits;
  if (code == nb::dlpack::dtype_code::Bfloat) return "BF" + bits;
  return "no float, " + bits + " bits";
}

MemoryTensor memory_tensor(const std::string& name, const Weight& weight) {
  MemoryTensor tensor{.name = name, .dtype = dtype_name(weight.dtype()), .shape = {}, .data = weight.data()};
  for (size_t i = 0; i < weight.ndim(); ++i) tensor.shape.push_back(weight.shape(i));
  return tensor;
}

void construct(EngineHandle* self, const std::string& path, const nb::dict& options) {
  const EngineOptions parsed = engine_options(options);
  const ReleasedGil released;
  new (self) EngineHandle(Engine::load(path, parsed));
}

void construct_from_memory(EngineHandle* self, const std::string& directory,
                           const std::vector<std::pair<std::string, Weight>>& weights, const nb::dict& options) {
  const EngineOptions parsed = engine_options(options);
  std::vector<MemoryTensor> tensors;
  for (const auto& [name, weight] : weights) tensors.push_back(memory_tensor(name, weight));
  const ReleasedGil released;
  new (self) EngineHandle(Engine::load(directory, tensors, parsed));
}

using TokenIds = std::vector<int32_t>;

std::shared_ptr<Stream> submit(const EngineHandle& handle, nb::handle prompt, const nb::dict& sampling,
                               const nb::dict& rest) {
  const std::shared_ptr<Engine> engine = handle.engine();
  Request request = request_options(*engine, sampling, rest);
  request.prompt = cast_argument<TokenIds>("the prompt", prompt);
  auto stream = std::make_shared<Stream>();
  const ReleasedGil released;
  stream->belongs_to(engine, engine->submit(std::move(request), Stream::events(stream)));
  return stream;
}

// An array [num_rows, columns] float32 that `read` fills row after row.
nb::object rows_array(size_t num_rows, size_t columns,
                      const std::function<void(const std::function<void(int64_t, std::span<const float>)>&)>& read) {
  auto values = std::make_unique<std::vector<float>>();
  {
    const ReleasedGil released;
    values->reserve(num_rows * columns);
    read([&](int64_t, std::span<const float> row) { values->insert(values->end(), row.begin(), row.end()); });
  }
  float* data = values->data();
  const nb::capsule owner(values.release(), [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<2>>(data, {num_rows, columns}, owner));
}

nb::object prompt_logits(const EngineHandle& handle, nb::handle prompt) {
  const std::shared_ptr<Engine> engine = handle.engine();
  const auto token_ids = cast_argument<TokenIds>("token_ids", prompt);
  return rows_array(token_ids.size(), engine->info().vocab_size,
                    [&](const OnLogits& on_logits) { engine->prompt_logits(token_ids, on_logits); });
}

nb::object hidden_states(const EngineHandle& handle, nb::handle prompt) {
  const std::shared_ptr<Engine> engine = handle.engine();
  const auto token_ids = cast_argument<TokenIds>("token_ids", prompt);
  return rows_array(token_ids.size(), engine->info().hidden_size, [&](const OnHiddenStates& on_hidden_states) {
    engine->hidden_states(token_ids, on_hidden_states);
  });
}

nb::object detokenize(const EngineHandle& handle, nb::handle ids) {
  const std::shared_ptr<Engine> engine = handle.engine();
  const auto token_ids = cast_argument<TokenIds>("token_ids", ids);
  const auto vocab_size = static_cast<int32_t>(engine->info().vocab_size);
  for (const int32_t id : token_ids) {
    if (id >= 0 && id < vocab_size) continue;
    throw Error(ErrorCode::invalid_argument,
                "token id " + std::to_string(id) + " is outside the vocabulary, 0 … " + std::to_string(vocab_size - 1));
  }
  const std::string text = engine->detokenize(token_ids);
  return nb::steal<nb::str>(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

}  // namespace

void bind_engine(nb::module_& module) {
  using Handle = EngineHandle;
  nb::class_<Handle>(module, "Engine")
      .def("__init__", &construct, nb::arg("path"), nb::arg("options"))
      .def("__init__", &construct_from_memory, nb::arg("directory"), nb::arg("weights"), nb::arg("options"))
      .def("close", &Handle::close)
      .def_prop_ro("closed", &Handle::is_closed)
      .def("info", [](const Handle& self) { return to_dict(self.engine()->info()); })
      .def("stats", [](const Handle& self) { return to_dict(self.engine()->stats()); })
      .def("submit", &submit, nb::arg("prompt"), nb::arg("sampling"), nb::arg("rest"))
      .def("prompt_logits", &prompt_logits, nb::arg("token_ids"))
      .def("hidden_states", &hidden_states, nb::arg("token_ids"))
      .def("tokenize", [](const Handle& self, const std::string& text,
                          bool parse_special) { return self.engine()->tokenize(text, parse_special); })
      .def("detokenize", &detokenize, nb::arg("token_ids"))
      .def("tokenize_chat",
           [](const Handle& self, const std::string& messages) { return self.engine()->tokenize_chat(messages); })
      .def("tokenize_prompt",
           [](const Handle& self, const std::string& text) { return self.engine()->tokenize_prompt(text); });
}

}  // namespace qwin::python
