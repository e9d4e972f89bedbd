// SPDX-License-Identifier: Apache-2.0
#include "chat/jinja/budget.h"

#include <ctime>

#include "qwin/error.h"

namespace qwin::jinja {
namespace {

int64_t thread_cpu_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Budget::Budget() : deadline_(thread_cpu_nanoseconds() + kMaxCpuNanoseconds) {}

void Budget::check() {
  next_check_ = steps_ + 1024;
  if (steps_ > kMaxSteps || thread_cpu_nanoseconds() > deadline_) {
    throw Error(ErrorCode::invalid_argument,
                "the chat template takes more than 500 ms for these messages: shorten them, or use another template");
  }
}

void Budget::too_much_memory() {
  throw Error(ErrorCode::invalid_argument,
              "the chat template needs more than 64 MiB for these messages: shorten them, or use another template");
}

}  // namespace qwin::jinja
