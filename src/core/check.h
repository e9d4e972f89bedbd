// SPDX-License-Identifier: Apache-2.0
// Assertions for our own bugs: they abort with the place and the condition. Faults of users and files throw Error
// instead.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace qwin {

[[noreturn]] inline void check_failed(const char* condition, std::source_location where) {
  std::fprintf(stderr, "qwin bug: check failed: %s\n  at %s:%u in %s\n", condition, where.file_name(),
               static_cast<unsigned>(where.line()), where.function_name());
  std::abort();
}

}  // namespace qwin

#define QWIN_CHECK(condition)                                                            \
  do {                                                                                   \
    if (!(condition)) ::qwin::check_failed(#condition, std::source_location::current()); \
  } while (false)
