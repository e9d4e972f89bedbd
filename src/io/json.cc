// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

namespace qwin {

Json parse_json(std::string_view text, const char* what, ErrorCode code) {
  try {
    return read_json(text, kMaxJsonDepth);
  } catch (const JsonFault& fault) {
    throw Error(code, std::string(what) + ": " + fault.what());
  }
}

}  // namespace qwin
