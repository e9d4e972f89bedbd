// SPDX-License-Identifier: Apache-2.0
#include "qwin/error.h"

namespace qwin {

const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::bad_magic: return "bad_magic";
    case ErrorCode::bad_version: return "bad_version";
    case ErrorCode::too_large: return "too_large";
    case ErrorCode::overflow: return "overflow";
    case ErrorCode::bad_type: return "bad_type";
    case ErrorCode::bad_shape: return "bad_shape";
    case ErrorCode::out_of_file: return "out_of_file";
    case ErrorCode::missing_tensor: return "missing_tensor";
    case ErrorCode::bad_tokenizer: return "bad_tokenizer";
    case ErrorCode::bad_config: return "bad_config";
    case ErrorCode::bad_template: return "bad_template";
    case ErrorCode::non_finite: return "non_finite";
    case ErrorCode::path: return "path";
    case ErrorCode::io: return "io";
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::context_length_exceeded: return "context_length_exceeded";
    case ErrorCode::queue_full: return "queue_full";
    case ErrorCode::timed_out: return "timed_out";
    case ErrorCode::does_not_fit: return "too_large";
    case ErrorCode::network: return "network";
    case ErrorCode::checksum: return "checksum";
    case ErrorCode::numerical: return "numerical";
    case ErrorCode::gate_missed: return "gate_missed";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::broken: return "broken";
  }
  return "unknown";
}

bool is_input_error(ErrorCode code) {
  switch (code) {
    case ErrorCode::queue_full:
    case ErrorCode::timed_out:
    case ErrorCode::does_not_fit:
    case ErrorCode::network:
    case ErrorCode::checksum:
    case ErrorCode::numerical:
    case ErrorCode::gate_missed:
    case ErrorCode::cancelled:
    case ErrorCode::broken: return false;
    default: return true;
  }
}

}  // namespace qwin
