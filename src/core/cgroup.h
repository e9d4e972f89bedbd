// SPDX-License-Identifier: Apache-2.0
// What the control groups of this process, version 1 or 2, leave it: its own group and every group above it count.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace qwin {

struct CgroupLimits {
  std::optional<double> cpus;  // processor time a second
  std::optional<uint64_t> memory_bytes;
  std::optional<uint64_t> memory_available_bytes;  // what is not used yet; the cache of files counts as unused
};

// Tests give other places than the kernel's.
CgroupLimits cgroup_limits(const std::string& membership_file = "/proc/self/cgroup",
                           const std::string& mount = "/sys/fs/cgroup");

}  // namespace qwin
