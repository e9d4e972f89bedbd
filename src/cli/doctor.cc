// SPDX-License-Identifier: Apache-2.0
// `qwin doctor`: what this machine has, which kernels will run, what falls back, what to change.
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/progress_bar.h"
#include "core/cgroup.h"
#include "core/cpu_info.h"
#include "io/json.h"

namespace qwin {
namespace {

constexpr uint64_t kTestBytes = uint64_t{32} << 20;  // of the allocation that shows whether 2 MiB pages are given

struct Facts {
  CpuIsa isa = choose_cpu_isa();
  CpuTopology topology = cpu_topology();
  int threads = default_num_threads();
  std::optional<double> quota = cgroup_limits().cpus;
  MemoryInfo memory = memory_info();
  std::string huge_pages = transparent_huge_pages();
  uint64_t huge_bytes = huge_page_bytes_of_test(kTestBytes);
};

std::vector<std::string> advice(const Facts& facts) {
  std::vector<std::string> lines;
  if (facts.huge_pages == "never") {
    lines.push_back(
        "2 MiB pages are off, so the weights lie in 4 KiB pages and decoding may be half as fast: echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/enabled");
  } else if (facts.huge_bytes < kTestBytes) {
    lines.push_back("of " + bytes_text(kTestBytes) + " only " + bytes_text(facts.huge_bytes) +
                    " came in 2 MiB pages, the rest falls back to 4 KiB: memory is fragmented; echo 1 > "
                    "/proc/sys/vm/compact_memory, or free some");
  }
  if (facts.isa == CpuIsa::reference)
    lines.push_back("this CPU has no AVX2 (or QWIN_CPU_ISA forbids it): only the slow reference kernels run");
  if (facts.isa < detect_cpu_isa()) lines.push_back("QWIN_CPU_ISA holds the kernels below what the CPU can do");
  if (facts.quota && *facts.quota < static_cast<double>(facts.topology.cores.size())) {
    char text[128];
    std::snprintf(text, sizeof text, "the control group allows %.1f of %zu cores; raise its CPU quota for more",
                  *facts.quota, facts.topology.cores.size());
    lines.push_back(text);
  }
  if (facts.topology.nodes.size() > 1) {
    lines.push_back(
        "memory of another NUMA node is slower to read: for one model a node, start each under "
        "numactl --cpunodebind=N --membind=N");
  }
  return lines;
}

Json numa_json(const CpuTopology& topology) {
  Json nodes = Json::array();
  for (const NumaNode& node : topology.nodes)
    nodes.push_back({{"node", node.id}, {"cpus", node.cpus}, {"memory_bytes", node.memory_bytes}});
  return nodes;
}

void print_json(const Facts& facts, const std::vector<std::string>& to_change) {
  const Json result{{"cpu", cpu_name()},
                    {"isa_available", cpu_isa_name(detect_cpu_isa())},
                    {"isa", cpu_isa_name(facts.isa)},
                    {"cores", facts.topology.cores},
                    {"hyper_threads", facts.topology.cpus.size() - facts.topology.cores.size()},
                    {"cpu_quota", facts.quota ? Json(*facts.quota) : Json(nullptr)},
                    {"numa_nodes", numa_json(facts.topology)},
                    {"threads", facts.threads},
                    {"huge_pages", facts.huge_pages},
                    {"huge_page_test", {{"asked_bytes", kTestBytes}, {"got_bytes", facts.huge_bytes}}},
                    {"memory_bytes", facts.memory.total_bytes},
                    {"memory_available_bytes", facts.memory.available_bytes},
                    {"gpu", nullptr},
                    {"advice", to_change}};
  std::printf("%s\n", result.dump().c_str());
}

void print_cores(const Facts& facts) {
  const size_t cores = facts.topology.cores.size(), siblings = facts.topology.cpus.size() - cores;
  std::printf("cores        %zu allowed", cores);
  if (siblings > 0) std::printf(" (%zu hyper-thread sibling%s left idle)", siblings, siblings == 1 ? "" : "s");
  if (facts.quota) std::printf(", %.1f by the control group's quota", *facts.quota);
  std::printf("; %d thread%s by default\n", facts.threads, facts.threads == 1 ? "" : "s");
  for (const NumaNode& node : facts.topology.nodes) {
    std::printf("NUMA node %-2d %zu processor%s, %s\n", node.id, node.cpus.size(), node.cpus.size() == 1 ? "" : "s",
                bytes_text(node.memory_bytes).c_str());
  }
}

void run_doctor(bool json) {
  const Facts facts;
  const std::vector<std::string> to_change = advice(facts);
  if (json) return print_json(facts, to_change);
  std::printf("CPU          %s\n", cpu_name().c_str());
  std::printf("kernels      %s (the CPU has %s)\n", std::string(cpu_isa_name(facts.isa)).c_str(),
              std::string(cpu_isa_name(detect_cpu_isa())).c_str());
  print_cores(facts);
  std::printf("2 MiB pages  %s; a test buffer of %s got %s in them\n",
              facts.huge_pages.empty() ? "unknown" : facts.huge_pages.c_str(), bytes_text(kTestBytes).c_str(),
              bytes_text(facts.huge_bytes).c_str());
  std::printf("memory       %s, %s available\n", bytes_text(facts.memory.total_bytes).c_str(),
              bytes_text(facts.memory.available_bytes).c_str());
  std::printf("GPU          not used: there is no GPU back end\n");
  for (const std::string& line : to_change) std::printf("to change    %s\n", line.c_str());
  if (to_change.empty()) std::printf("to change    nothing\n");
}

}  // namespace

void register_doctor(CLI::App& app) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("doctor", "Tell what this machine has and which kernels will run");
  add_switch(*command, "--json", *json, "print an object");
  command->callback([json] { run_doctor(*json); });
}

}  // namespace qwin
