// SPDX-License-Identifier: Apache-2.0
// `qwin quantize --gate`: a result that is too far from its source is refused before it has a name.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/cli.h"
#include "eval/compare.h"
#include "eval/gate.h"

namespace qwin {

struct GateArguments {
  std::string conditions, text_file;
};

// --gate, --gate-text
void add_gate_options(CLI::App& command, GateArguments& arguments);

class QuantizeGate {
 public:
  // Reads the text with the source, in float32. Throws Error: invalid_argument, and what loading throws.
  QuantizeGate(const GateArguments& arguments, const std::string& source, int num_threads);

  // Throws Error(gate_missed) when the model at `path` misses a condition.
  void check(const std::string& path);
  const Divergence& measured() const { return measured_; }

 private:
  const Gate gate_;
  const std::string text_;
  const int num_threads_;
  Reference reference_;
  Divergence measured_;
};

// nullptr when no gate is asked for.
std::unique_ptr<QuantizeGate> make_gate(const GateArguments& arguments, const std::string& source, int num_threads);

}  // namespace qwin
