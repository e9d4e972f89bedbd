// SPDX-License-Identifier: Apache-2.0
// The words every way of fetching a file shares: options and progress.
#pragma once

#include <cstdint>
#include <functional>

namespace qwin {

struct FetchOptions {
  int connections = 4;
  int connect_timeout = 5;  // seconds
  int stall_timeout = 20;   // seconds below 1 KiB/s before a connection is given up
  int retries = 5;          // attempts in a row without progress before a source is given up
};

// Called often, from the calling thread: bytes there so far, of how many.
using ProgressFunction = std::function<void(uint64_t done, uint64_t total)>;

}  // namespace qwin
