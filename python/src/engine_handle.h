// SPDX-License-Identifier: Apache-2.0
// The public C++ engine with a close(), safe after a fork and at the interpreter's end.
#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "bindings.h"
#include "qwin/engine.h"
#include "released_gil.h"

namespace qwin::python {

// Thread-safe. Calls after close() raise; calls under way end with `cancelled`.
class EngineHandle {
 public:
  // Called and destroyed with the GIL.
  explicit EngineHandle(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
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
    const ReleasedGil released;
    engine.reset();
  }
  bool is_closed() const { return engine_ == nullptr; }

 private:
  std::shared_ptr<Engine> engine_;
  const pid_t process_ = ::getpid();
};

}  // namespace qwin::python
