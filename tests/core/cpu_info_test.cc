// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_info.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "qwin/error.h"

namespace qwin {

namespace {

// Sets QWIN_CPU_ISA for a test and puts back what was there.
class CpuIsaVariable {
 public:
  CpuIsaVariable() {
    if (const char* value = std::getenv("QWIN_CPU_ISA")) saved_ = value;
  }
  ~CpuIsaVariable() { saved_ ? set(saved_->c_str()) : unset(); }
  void set(const char* value) const { setenv("QWIN_CPU_ISA", value, 1); }
  void unset() const { unsetenv("QWIN_CPU_ISA"); }

 private:
  std::optional<std::string> saved_;
};

TEST(CpuInfoTest, EveryIsaNameIsReadBack) {
  for (int i = 0; i <= static_cast<int>(CpuIsa::amx); ++i) {
    const CpuIsa isa = static_cast<CpuIsa>(i);
    EXPECT_EQ(parse_cpu_isa(cpu_isa_name(isa)), isa);
  }
}

TEST(CpuInfoTest, OtherNamesAreNone) {
  for (const char* name : {"", "AVX2", "avx", "avx2 ", "avx512_vnni2", "best"})
    EXPECT_EQ(parse_cpu_isa(name), std::nullopt) << name;
}

TEST(CpuInfoTest, VariableCapsTheIsa) {
  const CpuIsaVariable variable;
  variable.unset();
  EXPECT_EQ(choose_cpu_isa(), detect_cpu_isa());
  variable.set("");
  EXPECT_EQ(choose_cpu_isa(), detect_cpu_isa());
  variable.set("reference");
  EXPECT_EQ(choose_cpu_isa(), CpuIsa::reference);
  variable.set("float32");
  EXPECT_EQ(choose_cpu_isa(), CpuIsa::float32);
  variable.set("amx");
  EXPECT_EQ(choose_cpu_isa(), detect_cpu_isa());
}

#if defined(__x86_64__)
TEST(CpuInfoTest, CapAtAvx2VnniNeverChoosesWhatTheCpuLacks) {
  const CpuIsaVariable variable;
  variable.set("avx2_vnni");
  const CpuIsa chosen = choose_cpu_isa();
  EXPECT_LE(chosen, CpuIsa::avx2_vnni);
  EXPECT_EQ(chosen == CpuIsa::avx2_vnni, static_cast<bool>(__builtin_cpu_supports("avxvnni")));
}
#endif

TEST(CpuInfoTest, UnknownIsaIsRefusedByName) {
  const CpuIsaVariable variable;
  variable.set("avx1024");
  try {
    choose_cpu_isa();
    FAIL() << "avx1024 was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("avx1024"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("avx512_vnni"), std::string::npos);
  }
}

TEST(CpuInfoTest, CoresAreDistinctAndThreadsFitThem) {
  std::vector<int> cores = allowed_cores();
  ASSERT_FALSE(cores.empty());
  std::ranges::sort(cores);
  EXPECT_EQ(std::ranges::adjacent_find(cores), cores.end());
  EXPECT_GE(default_num_threads(), 1);
  EXPECT_LE(default_num_threads(), static_cast<int>(cores.size()));
}

TEST(CpuInfoTest, MemoryIsPlausible) {
  const MemoryInfo memory = memory_info();
  EXPECT_GT(memory.available_bytes, uint64_t{1} << 20);
  EXPECT_LE(memory.available_bytes, memory.total_bytes);
}

TEST(CpuInfoTest, HugePagesAreOneOfTheKernelsWords) {
  const std::string mode = transparent_huge_pages();
  EXPECT_TRUE(mode == "always" || mode == "madvise" || mode == "never" || mode.empty()) << mode;
}

TEST(CpuInfoTest, ATestBufferGetsHugePagesOnlyWhereTheyAreOn) {
  constexpr uint64_t kBytes = uint64_t{8} << 20;
  const uint64_t got = huge_page_bytes_of_test(kBytes);
  EXPECT_LE(got, kBytes);
  EXPECT_EQ(got % (uint64_t{2} << 20), 0u);
  if (transparent_huge_pages() == "never") {
    EXPECT_EQ(got, 0u);
  }
}

TEST(CpuInfoTest, CpuHasAName) { EXPECT_FALSE(cpu_name().empty()); }

}  // namespace

}  // namespace qwin
