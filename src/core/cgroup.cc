// SPDX-License-Identifier: Apache-2.0
#include "core/cgroup.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace qwin {

namespace {

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A number, or nullopt for "max", "" and anything else.
std::optional<uint64_t> parse_number(const std::string& text) {
  if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0]))) return std::nullopt;
  return std::strtoull(text.c_str(), nullptr, 10);
}

template <typename T>
void lower(std::optional<T>& limit, T value) {
  limit = limit ? std::min(*limit, value) : value;
}

bool lists(const std::string& controllers, std::string_view controller) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == controller) return true;
  }
  return false;
}

// The folders of the group and the groups above it, up to the mount. In a container the path may be the host's and not
// be there: the mount itself then is the process's group.
std::vector<std::string> folders_up(const std::string& mount, std::string path) {
  std::vector<std::string> folders;
  if (path.find("..") != std::string::npos) path.clear();
  while (!path.empty() && path != "/") {
    folders.push_back(mount + path);
    path.resize(path.rfind('/'));
  }
  folders.push_back(mount);
  return folders;
}

// Lines of /proc/self/cgroup are "0::/path" for version 2 and "4:cpu,cpuacct:/path" for version 1.
std::vector<std::string> group_folders(const std::string& membership_file, const std::string& mount,
                                       std::string_view controller) {
  std::vector<std::string> folders;
  std::ifstream file(membership_file);
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && !lists(controllers, controller)) continue;
    const std::string base = controllers.empty() ? mount : mount + "/" + std::string(controller);
    for (std::string& folder : folders_up(base, line.substr(second + 1))) folders.push_back(std::move(folder));
  }
  return folders;
}

// Memory that holds parts of files is given back before anything is refused.
uint64_t file_cache_bytes(const std::string& folder, const char* prefix) {
  std::ifstream file(folder + "/memory.stat");
  const std::string active = std::string(prefix) + "active_file", inactive = std::string(prefix) + "inactive_file";
  uint64_t bytes = 0, value = 0;
  for (std::string key; file >> key >> value;) {
    if (key == active || key == inactive) bytes += value;
  }
  return bytes;
}

void read_memory(const std::string& folder, CgroupLimits& limits) {
  const bool version_1 = !parse_number(read_line(folder + "/memory.max"));
  const auto limit = parse_number(read_line(folder + (version_1 ? "/memory.limit_in_bytes" : "/memory.max")));
  if (!limit) return;
  const uint64_t used =
      parse_number(read_line(folder + (version_1 ? "/memory.usage_in_bytes" : "/memory.current"))).value_or(0);
  const uint64_t firm = used - std::min(used, file_cache_bytes(folder, version_1 ? "total_" : ""));
  lower(limits.memory_bytes, *limit);
  lower(limits.memory_available_bytes, *limit - std::min(*limit, firm));
}

void read_cpus(const std::string& folder, CgroupLimits& limits) {
  std::istringstream version_2(read_line(folder + "/cpu.max"));  // "150000 100000" or "max 100000"
  std::string quota, period;
  if (!(version_2 >> quota >> period)) {
    quota = read_line(folder + "/cpu.cfs_quota_us");
    period = read_line(folder + "/cpu.cfs_period_us");
  }
  const auto time = parse_number(quota), of = parse_number(period);
  if (time && of && *time > 0 && *of > 0) lower(limits.cpus, static_cast<double>(*time) / static_cast<double>(*of));
}

}  // namespace

CgroupLimits cgroup_limits(const std::string& membership_file, const std::string& mount) {
  CgroupLimits limits;
  for (const std::string& folder : group_folders(membership_file, mount, "memory")) read_memory(folder, limits);
  for (const std::string& folder : group_folders(membership_file, mount, "cpu")) read_cpus(folder, limits);
  return limits;
}

}  // namespace qwin
