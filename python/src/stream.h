// SPDX-License-Identifier: Apache-2.0
// One request's events, collected on the engine's thread and fetched by Python's. The engine's thread never waits for
// the interpreter.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "bindings.h"
#include "qwin/engine.h"

namespace qwin::python {

// Thread-safe.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Both keep the stream alive until the request's end.
  static RequestEvents events(const std::shared_ptr<Stream>& stream);
  void belongs_to(const std::shared_ptr<Engine>& engine, RequestId id);

  // What came since the last call, or nullopt when `seconds` (negative: no limit) pass without anything; for `hold`
  // seconds before that it lets what comes collect. The end cuts both short. Called with the GIL; waits without it, and
  // lets Ctrl-C through.
  std::optional<Output> next(double seconds, double hold);
  bool has_ended() const;
  // Requires: has_ended(). Throws what the request failed with.
  GenerationResult result() const;
  void cancel();
  // Readable when next() would not wait.
  int descriptor() const { return descriptor_; }

 private:
  void add(const Output& output);
  void end(GenerationResult result, std::exception_ptr error);
  // True when there is an output (unless only the end is waited for) or the end.
  bool wait(double seconds, bool for_end);
  bool wait_in_slices(double seconds, bool for_end);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Output> output_;  // of all steps since the last next()
  std::optional<GenerationResult> result_;
  std::exception_ptr error_;
  std::weak_ptr<Engine> engine_;
  RequestId id_ = 0;
  int descriptor_ = -1;
};

}  // namespace qwin::python
