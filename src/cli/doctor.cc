// SPDX-License-Identifier: Apache-2.0
// `qwin doctor`: what this machine has, which kernels will run, what to change.
#include <cstdio>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/progress_bar.h"
#include "core/cpu_info.h"
#include "io/json.h"

namespace qwin {
namespace {

std::vector<std::string> advice(CpuIsa isa, const std::string& huge_pages) {
  std::vector<std::string> lines;
  if (huge_pages == "never") {
    lines.push_back(
        "2 MiB pages are off, decoding will be up to half as fast: echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/enabled");
  }
  if (isa == CpuIsa::reference)
    lines.push_back("this CPU has no AVX2 (or QWIN_CPU_ISA forbids it): only the slow reference kernels run");
  if (isa < detect_cpu_isa()) lines.push_back("QWIN_CPU_ISA holds the kernels below what the CPU can do");
  return lines;
}

void run_doctor(bool json) {
  const CpuIsa isa = choose_cpu_isa();
  const std::vector<int> cores = allowed_cores();
  const MemoryInfo memory = memory_info();
  const std::string huge_pages = transparent_huge_pages();
  const std::vector<std::string> to_change = advice(isa, huge_pages);
  if (json) {
    const Json result{{"cpu", cpu_name()},
                      {"isa_available", cpu_isa_name(detect_cpu_isa())},
                      {"isa", cpu_isa_name(isa)},
                      {"cores", cores},
                      {"threads", default_num_threads()},
                      {"huge_pages", huge_pages},
                      {"memory_bytes", memory.total_bytes},
                      {"memory_available_bytes", memory.available_bytes},
                      {"gpu", nullptr},
                      {"advice", to_change}};
    std::printf("%s\n", result.dump().c_str());
    return;
  }
  std::printf("CPU          %s\n", cpu_name().c_str());
  std::printf("kernels      %s (the CPU has %s)\n", std::string(cpu_isa_name(isa)).c_str(),
              std::string(cpu_isa_name(detect_cpu_isa())).c_str());
  std::printf("cores        %zu allowed, %d threads by default\n", cores.size(), default_num_threads());
  std::printf("2 MiB pages  %s\n", huge_pages.empty() ? "unknown" : huge_pages.c_str());
  std::printf("memory       %s, %s available\n", bytes_text(memory.total_bytes).c_str(),
              bytes_text(memory.available_bytes).c_str());
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
