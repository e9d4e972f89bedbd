// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_info.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "core/buffer.h"
#include "core/cgroup.h"
#include "qwin/error.h"

namespace qwin {

namespace {

constexpr std::string_view kIsaNames[] = {"float32", "reference",   "avx2",        "avx2_vnni",
                                          "avx512",  "avx512_vnni", "avx512_bf16", "amx"};

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

uint64_t meminfo_bytes(std::string_view key) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  }
  return 0;
}

#if defined(__x86_64__)
// Linux keeps the tile registers (8 KiB a thread) only for processes that ask.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

std::string_view cpu_isa_name(CpuIsa isa) { return kIsaNames[static_cast<int>(isa)]; }

std::optional<CpuIsa> parse_cpu_isa(std::string_view name) {
  for (int i = 0; i < static_cast<int>(std::size(kIsaNames)); ++i) {
    if (kIsaNames[i] == name) return static_cast<CpuIsa>(i);
  }
  return std::nullopt;
}

CpuIsa detect_cpu_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (!avx2) return CpuIsa::reference;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (!avx512) return __builtin_cpu_supports("avxvnni") ? CpuIsa::avx2_vnni : CpuIsa::avx2;
  if (!__builtin_cpu_supports("avx512vnni")) return CpuIsa::avx512;
  if (!__builtin_cpu_supports("avx512bf16")) return CpuIsa::avx512_vnni;
  const bool amx = __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
                   __builtin_cpu_supports("amx-bf16") && may_use_tiles();
  return amx ? CpuIsa::amx : CpuIsa::avx512_bf16;
#else
  return CpuIsa::reference;
#endif
}

CpuIsa choose_cpu_isa() {
  const CpuIsa best = detect_cpu_isa();
  const char* wish = std::getenv("QWIN_CPU_ISA");
  if (wish == nullptr || *wish == '\0') return best;
  const std::optional<CpuIsa> isa = parse_cpu_isa(wish);
  if (!isa) {
    throw Error(ErrorCode::invalid_argument,
                std::string("QWIN_CPU_ISA=") + wish +
                    " is unknown; use float32, reference, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16 or amx");
  }
#if defined(__x86_64__)
  // The one rung that higher ones do not include: many CPUs with AVX-512 lack AVX-VNNI.
  if (*isa == CpuIsa::avx2_vnni && best > *isa && !__builtin_cpu_supports("avxvnni")) return CpuIsa::avx2;
#endif
  // A cap above what the CPU has caps nothing.
  return std::min(*isa, best);
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

CpuTopology cpu_topology() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return read_cpu_topology({0});
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return read_cpu_topology(std::move(cpus));
}

std::vector<int> allowed_cores() { return cpu_topology().cores; }

int default_num_threads() {
  int threads = static_cast<int>(allowed_cores().size());
  if (const auto quota = cgroup_limits().cpus) threads = std::min(threads, static_cast<int>(std::ceil(*quota)));
  return std::max(threads, 1);
}

std::optional<uint64_t> address_space_left() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const uint64_t pages = std::strtoull(read_line("/proc/self/statm").c_str(), nullptr, 10);
  const uint64_t used = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return limit.rlim_cur - std::min<uint64_t>(limit.rlim_cur, used);
}

MemoryInfo memory_info() {
  MemoryInfo info{meminfo_bytes("MemTotal:"), meminfo_bytes("MemAvailable:")};
  const CgroupLimits cgroup = cgroup_limits();
  if (cgroup.memory_bytes) info.total_bytes = std::min(info.total_bytes, *cgroup.memory_bytes);
  if (cgroup.memory_available_bytes)
    info.available_bytes = std::min(info.available_bytes, *cgroup.memory_available_bytes);
  if (const auto left = address_space_left()) info.available_bytes = std::min(info.available_bytes, *left);
  return info;
}

uint64_t huge_page_bytes_of_test(uint64_t size) {
  const Buffer buffer(size);
  for (uint64_t i = 0; i < size; i += 4096) buffer.data()[i] = std::byte{1};
  // The mapping may have been merged with a neighbour: of several, those that overlap the buffer count.
  std::ifstream maps("/proc/self/smaps");
  const auto begin = reinterpret_cast<uintptr_t>(buffer.data());
  bool inside = false;
  uint64_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long low = 0, high = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &low, &high) == 2) inside = low < begin + size && high > begin;
    if (inside && line.starts_with("AnonHugePages:")) bytes += std::strtoull(line.c_str() + 14, nullptr, 10) * 1024;
  }
  return std::min(bytes, size);
}

std::string transparent_huge_pages() {
  const std::string line = read_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t open = line.find('['), close = line.find(']');
  return open == std::string::npos || close == std::string::npos ? "" : line.substr(open + 1, close - open - 1);
}

}  // namespace qwin
