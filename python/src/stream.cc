// SPDX-License-Identifier: Apache-2.0
#include "stream.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "dictionaries.h"
#include "released_gil.h"

namespace qwin::python {

namespace {

// How long Ctrl-C may take to be seen.
constexpr double kSignalSeconds = 0.1;

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

Stream::Stream() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Stream::~Stream() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RequestEvents Stream::events(const std::shared_ptr<Stream>& stream) {
  return {.on_output = [stream](const Output& output) { stream->add(output); },
          .on_end = [stream](GenerationResult result,
                             std::exception_ptr error) { stream->end(std::move(result), std::move(error)); }};
}

void Stream::belongs_to(const std::shared_ptr<Engine>& engine, RequestId id) {
  const std::lock_guard lock(mutex_);
  engine_ = engine;
  id_ = id;
}

void Stream::add(const Output& output) {
  {
    const std::lock_guard lock(mutex_);
    if (!output_) output_.emplace();
    output_->num_prompt_tokens_read = output.num_prompt_tokens_read;
    output_->text += output.text;
    append(output_->token_ids, output.token_ids);
    append(output_->logprobs, output.logprobs);
  }
  ::eventfd_write(descriptor_, 1);
  changed_.notify_all();
}

void Stream::end(GenerationResult result, std::exception_ptr error) {
  {
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
    error_ = std::move(error);
  }
  ::eventfd_write(descriptor_, 1);
  changed_.notify_all();
}

bool Stream::wait(double seconds, bool for_end) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                           [&] { return result_ || (output_ && !for_end); });
}

bool Stream::wait_in_slices(double seconds, bool for_end) {
  for (bool is_there = false; !is_there && seconds != 0;) {
    const double slice = seconds < 0 ? kSignalSeconds : std::min(seconds, kSignalSeconds);
    {
      const ReleasedGil released;
      is_there = wait(slice, for_end);
    }
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (is_there) return true;
    if (seconds > 0) seconds -= slice;
  }
  return false;
}

std::optional<Output> Stream::next(double seconds, double hold) {
  if (hold > 0) wait_in_slices(hold, true);
  wait_in_slices(seconds, false);
  const std::lock_guard lock(mutex_);
  eventfd_t ignored = 0;
  if (!result_) ::eventfd_read(descriptor_, &ignored);
  return std::exchange(output_, std::nullopt);
}

bool Stream::has_ended() const {
  const std::lock_guard lock(mutex_);
  return result_.has_value();
}

GenerationResult Stream::result() const {
  const std::lock_guard lock(mutex_);
  if (!result_) throw Error(ErrorCode::invalid_argument, "the request has not ended");
  if (error_) std::rethrow_exception(error_);
  return *result_;
}

void Stream::cancel() {
  std::shared_ptr<Engine> engine;
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    engine = engine_.lock();
    id = id_;
  }
  if (engine) engine->cancel(id);
}

void bind_stream(nb::module_& module) {
  nb::class_<Stream>(module, "Stream")
      .def(
          "next",
          [](Stream& stream, double seconds, double hold) -> nb::object {
            const std::optional<Output> output = stream.next(seconds, hold);
            if (!output) return nb::none();
            nb::dict dict;
            dict["text"] = output->text;
            dict["token_ids"] = output->token_ids;
            dict["logprobs"] = to_list(output->logprobs);
            dict["prompt_tokens_read"] = output->num_prompt_tokens_read;
            return dict;
          },
          nb::arg("seconds") = -1.0, nb::arg("hold") = 0.0)
      .def("result", [](const Stream& stream) { return to_dict(stream.result()); })
      .def("cancel", &Stream::cancel, nb::call_guard<ReleasedGil>())
      .def("fileno", &Stream::descriptor)
      .def_prop_ro("ended", &Stream::has_ended);
}

}  // namespace qwin::python
