// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_topology.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace qwin {

namespace {

using List = std::vector<int>;

// A made-up /sys/devices/system.
class CpuTopologyTest : public testing::Test {
 protected:
  CpuTopologyTest()
      : root_(testing::TempDir() + "qwin_topology_" + testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(root_);
  }
  ~CpuTopologyTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void siblings(int cpu, const std::string& list) const {
    write("cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", list + "\n");
  }
  CpuTopology read(List cpus) const { return read_cpu_topology(std::move(cpus), root_); }

 private:
  std::string root_;
};

TEST(CpuListTest, RangesAndSingleNumbers) {
  EXPECT_EQ(parse_cpu_list("0-3,8,10-11\n"), (List{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(parse_cpu_list("5"), (List{5}));
  EXPECT_EQ(parse_cpu_list(""), List{});
  EXPECT_EQ(parse_cpu_list("x,2,-1,7-999999999,3-1"), (List{2}));
}

TEST_F(CpuTopologyTest, WithoutSysEveryProcessorIsACore) {
  const CpuTopology topology = read({0, 1, 5});
  EXPECT_EQ(topology.cores, (List{0, 1, 5}));
  EXPECT_TRUE(topology.nodes.empty());
}

TEST_F(CpuTopologyTest, OneOfTheSiblingsStandsForTheCore) {
  for (const int cpu : {0, 4}) siblings(cpu, "0,4");
  for (const int cpu : {1, 5}) siblings(cpu, "1,5");
  EXPECT_EQ(read({0, 1, 4, 5}).cores, (List{0, 1}));
  EXPECT_EQ(read({0, 1, 4, 5}).cpus, (List{0, 1, 4, 5}));
  // Of a core whose first sibling is forbidden, the other one serves.
  EXPECT_EQ(read({1, 4}).cores, (List{1, 4}));
  EXPECT_EQ(read({4, 5}).cores, (List{4, 5}));
}

TEST_F(CpuTopologyTest, NodesNameTheirProcessorsAndMemory) {
  write("node/online", "0-1,3\n");
  write("node/node0/cpulist", "0-1\n");
  write("node/node0/meminfo", "Node 0 MemTotal:       2048 kB\nNode 0 MemFree:        1024 kB\n");
  write("node/node1/cpulist", "2-3\n");
  write("node/node3/cpulist", "\n");  // memory without processors
  const CpuTopology topology = read({0, 1, 3});
  ASSERT_EQ(topology.nodes.size(), 2u);
  EXPECT_EQ(topology.nodes[0].cpus, (List{0, 1}));
  EXPECT_EQ(topology.nodes[0].memory_bytes, 2048u * 1024);
  EXPECT_EQ(topology.nodes[1].id, 1);
  EXPECT_EQ(topology.nodes[1].cpus, (List{3}));
}

}  // namespace

}  // namespace qwin
