// SPDX-License-Identifier: Apache-2.0
// qwin._core.Engine: the public C++ engine with a close(), safe after a fork and at the interpreter's end.
#include "qwin/engine.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include "stream.h"

namespace qwin::python {

namespace {

KvCacheType kv_cache_type(const std::string& name) {
  if (name == "f32") return KvCacheType::f32;
  if (name == "f16") return KvCacheType::f16;
  if (name == "q8") return KvCacheType::q8;
  throw Error(ErrorCode::invalid_argument, "kv_type " + name + " is unknown; use \"f16\", \"q8\" or \"f32\"");
}

// Thread-safe. Calls after close() raise; calls under way end with `cancelled`.
class EngineHandle {
 public:
  EngineHandle(const std::string& path, const EngineOptions& options) {
    const nb::gil_scoped_release release;
    engine_ = Engine::load(path, options);
  }
  ~EngineHandle() { close(); }

  // Requires: the GIL.
  std::shared_ptr<Engine> engine() const {
    if (::getpid() != process_) {
      throw Error(ErrorCode::invalid_argument, "this engine was loaded before a fork; load one in this process");
    }
    if (!engine_) throw Error(ErrorCode::invalid_argument, "the engine is closed");
    return engine_;
  }
  void close() {
    std::shared_ptr<Engine> engine = std::exchange(engine_, nullptr);
    if (::getpid() != process_) {
      // Its threads are in the parent: here it cannot even be destroyed.
      new std::shared_ptr<Engine>(std::move(engine));
      return;
    }
    const nb::gil_scoped_release release;
    engine.reset();
  }
  bool is_closed() const { return engine_ == nullptr; }

 private:
  std::shared_ptr<Engine> engine_;
  const pid_t process_ = ::getpid();
};

template <typename T>
void take(const nb::dict& from, const char* name, T& value) {
  if (from.contains(name)) value = nb::cast<T>(from[name]);
}

SamplingParams sampling_params(SamplingParams params, const nb::dict& values) {
  take(values, "temperature", params.temperature);
  take(values, "top_k", params.top_k);
  take(values, "top_p", params.top_p);
  take(values, "min_p", params.min_p);
  take(values, "repetition_penalty", params.repetition_penalty);
  take(values, "presence_penalty", params.presence_penalty);
  take(values, "frequency_penalty", params.frequency_penalty);
  take(values, "logit_bias", params.logit_bias);
  take(values, "max_tokens", params.max_tokens);
  take(values, "min_tokens", params.min_tokens);
  take(values, "stop", params.stop);
  take(values, "stop_token_ids", params.stop_token_ids);
  take(values, "ignore_eos", params.ignore_eos);
  take(values, "logprobs", params.logprobs);
  if (values.contains("seed")) params.seed = nb::cast<uint64_t>(values["seed"]);
  return params;
}

EngineOptions engine_options(const nb::dict& values) {
  EngineOptions options;
  take(values, "num_threads", options.num_threads);
  take(values, "context_length", options.context_length);
  take(values, "window", options.window);
  take(values, "num_sink_tokens", options.num_sink_tokens);
  take(values, "kv_memory_bytes", options.kv_memory_bytes);
  take(values, "max_batch_size", options.max_batch_size);
  take(values, "batch_timeout_seconds", options.batch_timeout_seconds);
  take(values, "max_queue_length", options.max_queue_length);
  take(values, "max_step_seconds", options.max_step_seconds);
  take(values, "prefix_cache", options.prefix_cache);
  take(values, "cache_directory", options.cache_directory);
  take(values, "cache_max_bytes", options.cache_max_bytes);
  std::string kv_type = "f16";
  take(values, "kv_type", kv_type);
  options.kv_type = kv_cache_type(kv_type);
  return options;
}

std::shared_ptr<Stream> submit(const EngineHandle& handle, std::vector<int32_t> prompt, const nb::dict& sampling,
                               std::optional<int64_t> window, bool prompt_logprobs, const nb::dict& rest) {
  const std::shared_ptr<Engine> engine = handle.engine();
  Request request{.prompt = std::move(prompt),
                  .sampling = sampling_params(engine->default_sampling(), sampling),
                  .window = window,
                  .prompt_logprobs = prompt_logprobs};
  take(rest, "client", request.client);
  take(rest, "priority", request.priority);
  take(rest, "cache_salt", request.cache_salt);
  take(rest, "timeout_seconds", request.timeout_seconds);
  auto stream = std::make_shared<Stream>();
  const nb::gil_scoped_release release;
  stream->belongs_to(engine, engine->submit(std::move(request), Stream::events(stream)));
  return stream;
}

// [len(token_ids), vocab_size] float32
nb::object prompt_logits(const EngineHandle& handle, const std::vector<int32_t>& token_ids) {
  const std::shared_ptr<Engine> engine = handle.engine();
  const size_t vocab_size = engine->info().vocab_size;
  auto values = std::make_unique<std::vector<float>>();
  {
    const nb::gil_scoped_release release;
    values->reserve(token_ids.size() * vocab_size);
    engine->prompt_logits(
        token_ids, [&](int64_t, std::span<const float> row) { values->insert(values->end(), row.begin(), row.end()); });
  }
  float* data = values->data();
  const nb::capsule owner(values.release(), [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<2>>(data, {token_ids.size(), vocab_size}, owner));
}

nb::dict info_dict(const EngineHandle& handle) {
  const EngineInfo& info = handle.engine()->info();
  nb::dict dict;
  dict["model_name"] = info.model_name;
  dict["architecture"] = info.architecture;
  dict["path"] = info.path;
  dict["cpu"] = info.cpu;
  dict["isa"] = info.isa;
  dict["kv_type"] = info.kv_type;
  dict["num_parameters"] = info.num_parameters;
  dict["bits_per_weight"] = info.bits_per_weight;
  dict["file_bytes"] = info.file_bytes;
  dict["weight_bytes"] = info.weight_bytes;
  dict["kv_bytes_per_token"] = info.kv_bytes_per_token;
  dict["kv_memory_bytes"] = info.kv_memory_bytes;
  dict["num_threads"] = info.num_threads;
  dict["max_batch_size"] = info.max_batch_size;
  dict["context_length"] = info.context_length;
  dict["window"] = info.window;
  dict["num_sink_tokens"] = info.num_sink_tokens;
  dict["vocab_size"] = info.vocab_size;
  dict["load_seconds"] = info.load_seconds;
  return dict;
}

nb::dict stats_dict(const EngineHandle& handle) {
  const EngineStats stats = handle.engine()->stats();
  nb::dict dict;
  dict["requests_running"] = stats.requests_running;
  dict["requests_waiting"] = stats.requests_waiting;
  dict["kv_pages_total"] = stats.kv_pages_total;
  dict["kv_pages_used"] = stats.kv_pages_used;
  dict["kv_pages_cached"] = stats.kv_pages_cached;
  dict["kv_page_size"] = stats.kv_page_size;
  dict["requests_cancelled"] = stats.requests_cancelled;
  dict["preemptions"] = stats.preemptions;
  dict["prompt_tokens"] = stats.prompt_tokens;
  dict["generated_tokens"] = stats.generated_tokens;
  dict["prefix_cache_queried_tokens"] = stats.prefix_cache_queried_tokens;
  dict["prefix_cache_hit_tokens"] = stats.prefix_cache_hit_tokens;
  dict["steps"] = stats.steps;
  return dict;
}

}  // namespace

void bind_engine(nb::module_& module) {
  nb::class_<EngineHandle>(module, "Engine")
      .def(
          "__init__",
          [](EngineHandle* self, const std::string& path, const nb::dict& options) {
            new (self) EngineHandle(path, engine_options(options));
          },
          nb::arg("path"), nb::arg("options"))
      .def("close", &EngineHandle::close)
      .def_prop_ro("closed", &EngineHandle::is_closed)
      .def("info", &info_dict)
      .def("stats", &stats_dict)
      .def("submit", &submit, nb::arg("prompt"), nb::arg("sampling"), nb::arg("window").none(),
           nb::arg("prompt_logprobs"), nb::arg("rest"))
      .def("prompt_logits", &prompt_logits, nb::arg("token_ids"))
      .def(
          "tokenize",
          [](const EngineHandle& self, const std::string& text, bool parse_special) {
            return self.engine()->tokenize(text, parse_special);
          },
          nb::arg("text"), nb::arg("parse_special"))
      .def("detokenize",
           [](const EngineHandle& self, const std::vector<int32_t>& ids) {
             const std::string text = self.engine()->detokenize(ids);
             return nb::steal<nb::str>(
                 PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
           })
      .def("tokenize_chat",
           [](const EngineHandle& self, const std::string& messages) { return self.engine()->tokenize_chat(messages); })
      .def("tokenize_prompt",
           [](const EngineHandle& self, const std::string& text) { return self.engine()->tokenize_prompt(text); });
}

}  // namespace qwin::python
