// SPDX-License-Identifier: Apache-2.0
#include "core/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace qwin {

namespace {

// A made-up /proc/self/cgroup and /sys/fs/cgroup.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest()
      : root_(testing::TempDir() + "qwin_cgroup_" + testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(root_);
  }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  CgroupLimits limits(const std::string& membership) const {
    write("self", membership);
    return cgroup_limits(root_ + "/self", root_ + "/sys");
  }

 private:
  std::string root_;
};

TEST_F(CgroupTest, NothingIsLimitedWithoutGroups) {
  const CgroupLimits none = limits("0::/\n");
  EXPECT_FALSE(none.cpus || none.memory_bytes || none.memory_available_bytes);
}

TEST_F(CgroupTest, Version2TakesTheTightestOfTheGroupsAbove) {
  write("sys/a/b/memory.max", "max\n");
  write("sys/a/memory.max", "1000\n");
  write("sys/a/memory.current", "300\n");
  write("sys/a/b/cpu.max", "150000 100000\n");
  write("sys/a/cpu.max", "max 100000\n");
  const CgroupLimits found = limits("0::/a/b\n");
  EXPECT_EQ(found.memory_bytes, 1000u);
  EXPECT_EQ(found.memory_available_bytes, 700u);
  EXPECT_EQ(found.cpus, 1.5);
}

TEST_F(CgroupTest, CacheOfFilesCountsAsUnused) {
  write("sys/memory.max", "1000\n");
  write("sys/memory.current", "950\n");
  write("sys/memory.stat", "anon 100\ninactive_file 500\nactive_file 250\n");
  EXPECT_EQ(limits("0::/\n").memory_available_bytes, 800u);
}

TEST_F(CgroupTest, Version1LooksIntoTheGroupOfTheProcess) {
  write("sys/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/memory/job/memory.limit_in_bytes", "2000\n");
  write("sys/memory/job/memory.usage_in_bytes", "1500\n");
  write("sys/memory/job/memory.stat", "active_file 1\ntotal_active_file 600\ntotal_inactive_file 400\n");
  write("sys/cpu/job/cpu.cfs_quota_us", "-1\n");
  write("sys/cpu/job/cpu.cfs_period_us", "100000\n");
  const CgroupLimits found = limits("4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n");
  EXPECT_EQ(found.memory_bytes, 2000u);
  EXPECT_EQ(found.memory_available_bytes, 1500u);
  EXPECT_FALSE(found.cpus);
}

TEST_F(CgroupTest, InAContainerTheMountIsTheGroup) {
  write("sys/memory/memory.limit_in_bytes", "4000\n");
  EXPECT_EQ(limits("4:memory:/docker/0123\n").memory_bytes, 4000u);
  EXPECT_EQ(limits("4:memory:/../other\n").memory_bytes, 4000u);
}

}  // namespace

}  // namespace qwin
