// SPDX-License-Identifier: Apache-2.0
// Every fault of a user, a file or a request is an Error; our own bugs abort (core/check.h).
#pragma once

#include <stdexcept>
#include <string>

namespace qwin {

// The class of a fault. The names are part of the contract: `qwin check` prints them, the server maps them to HTTP
// codes.
enum class ErrorCode {
  // Faults of a model file.
  bad_magic,
  bad_version,
  too_large,  // a count or size beyond any sane model
  overflow,
  bad_type,
  bad_shape,
  out_of_file,
  missing_tensor,
  bad_tokenizer,
  bad_config,
  bad_template,
  non_finite,
  path,
  io,
  // Faults of a request.
  invalid_argument,
  context_length_exceeded,
  queue_full,  // too many requests wait already
  timed_out,   // Request::timeout_seconds went by
  // Faults at run time.
  does_not_fit,  // a model too big for the memory; printed as "too_large"
  network,
  checksum,
  numerical,
  gate_missed,  // a result is further from its original than was asked for
  cancelled,
  broken,  // the engine failed in a step and does no more
};

// "bad_magic" and so on, as printed in `error: CLASS: detail`.
const char* error_code_name(ErrorCode code);

// True when the input is to blame (exit code 2), false for a failure at run time (exit code 1).
bool is_input_error(ErrorCode code);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& detail) : std::runtime_error(detail), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace qwin
