// SPDX-License-Identifier: Apache-2.0
// What this machine has and what this process may use of it: instruction sets, cores, memory. Read from the CPU, /proc
// and cgroups.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/cpu_isa.h"
#include "core/cpu_topology.h"

namespace qwin {

std::string_view cpu_isa_name(CpuIsa isa);
// nullopt for an unknown name.
std::optional<CpuIsa> parse_cpu_isa(std::string_view name);
// The highest rung this CPU and operating system can run.
CpuIsa detect_cpu_isa();
// detect_cpu_isa(), capped by QWIN_CPU_ISA. Throws Error(invalid_argument) for an unknown name.
CpuIsa choose_cpu_isa();

std::string cpu_name();
// The logical CPUs this process is allowed to run on, their cores and NUMA nodes.
CpuTopology cpu_topology();
// One logical CPU for each physical core this process is allowed to run on; hyper-thread siblings are left out.
std::vector<int> allowed_cores();
// Threads worth starting: allowed_cores(), and no more than the cgroup's CPU quota allows.
int default_num_threads();

// What the process's address space may still grow by (ulimit -v), or nullopt without such a limit.
std::optional<uint64_t> address_space_left();

struct MemoryInfo {
  uint64_t total_bytes = 0;      // of the machine, or of a cgroup if that is less
  uint64_t available_bytes = 0;  // without swapping, likewise, and of the address space
};
MemoryInfo memory_info();

// Bytes of 2 MiB pages the kernel gives a buffer of `size` bytes when asked, as the weights' buffer asks. Writes it.
uint64_t huge_page_bytes_of_test(uint64_t size);

// The active choice of /sys/kernel/mm/transparent_hugepage/enabled: "always", "madvise", "never", or "" when unknown.
std::string transparent_huge_pages();

}  // namespace qwin
