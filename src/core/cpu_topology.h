// SPDX-License-Identifier: Apache-2.0
// Which logical processors are hyper-thread siblings of one core, and which memory is near them. From Linux's /sys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qwin {

struct NumaNode {
  int id = 0;
  std::vector<int> cpus;  // of this process's
  uint64_t memory_bytes = 0;
};

struct CpuTopology {
  std::vector<int> cpus;        // logical processors this process may run on
  std::vector<int> cores;       // the first of them on each physical core
  std::vector<NumaNode> nodes;  // those with any of `cpus`, ascending; empty when /sys tells nothing
};

// "0-3,8,10-11" -> 0 1 2 3 8 10 11. What is no such list is left out.
std::vector<int> parse_cpu_list(const std::string& text);

// Tests give another place than the kernel's.
CpuTopology read_cpu_topology(std::vector<int> allowed_cpus, const std::string& devices = "/sys/devices/system");

}  // namespace qwin
