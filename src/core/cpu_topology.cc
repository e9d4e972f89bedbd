// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_topology.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

namespace qwin {

namespace {

constexpr int kMaxCpus = 1 << 16;

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "Node 0 MemTotal:       24683512 kB"
uint64_t node_memory(const std::string& folder) {
  std::ifstream file(folder + "/meminfo");
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find("MemTotal:");
    if (at != std::string::npos) return std::strtoull(line.c_str() + at + 9, nullptr, 10) * 1024;
  }
  return 0;
}

std::vector<NumaNode> read_nodes(const std::vector<int>& cpus, const std::string& devices) {
  std::vector<NumaNode> nodes;
  for (const int id : parse_cpu_list(read_line(devices + "/node/online"))) {
    const std::string folder = devices + "/node/node" + std::to_string(id);
    NumaNode node{id, {}, node_memory(folder)};
    for (const int cpu : parse_cpu_list(read_line(folder + "/cpulist"))) {
      if (std::ranges::find(cpus, cpu) != cpus.end()) node.cpus.push_back(cpu);
    }
    if (!node.cpus.empty()) nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  std::istringstream ranges(text);
  for (std::string range; std::getline(ranges, range, ',');) {
    int first = 0, last = 0;
    char dash = 0;
    std::istringstream numbers(range);
    if (!(numbers >> first)) continue;
    if (!(numbers >> dash >> last) || dash != '-') last = first;
    if (first < 0 || last >= kMaxCpus) continue;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

CpuTopology read_cpu_topology(std::vector<int> allowed_cpus, const std::string& devices) {
  CpuTopology topology;
  std::set<std::string> seen;
  for (const int cpu : allowed_cpus) {
    const std::string siblings =
        read_line(devices + "/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    if (siblings.empty() || seen.insert(siblings).second) topology.cores.push_back(cpu);
  }
  topology.nodes = read_nodes(allowed_cpus, devices);
  topology.cpus = std::move(allowed_cpus);
  return topology;
}

}  // namespace qwin
