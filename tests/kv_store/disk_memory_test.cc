// SPDX-License-Identifier: Apache-2.0
// K and V on a disk: what is given back comes again, memory is kept to, and faults of the folder are told.
#include "kv_store/disk_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "qwin/error.h"

namespace qwin {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// The build's folder: TempDir() may lie in memory.
std::string disk() { return std::filesystem::current_path(); }

bool is_resident(const std::byte* data, size_t bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(data) + bytes;
  std::vector<unsigned char> in_memory((end - begin + page - 1) / page);
  EXPECT_EQ(mincore(reinterpret_cast<void*>(begin), end - begin, in_memory.data()), 0);
  return std::ranges::all_of(in_memory, [](auto flags) { return (flags & 1) != 0; });
}

TEST(DiskMemoryTest, KeepsToItsMemoryAndLosesNothing) {
  DiskMemory memory(disk(), 12 * kMiB, 2 * kMiB);
  for (int round = 0; round < 2; ++round) {
    for (uint64_t mib = 0; mib < 12; ++mib) {
      for (uint64_t at = mib * kMiB; at < (mib + 1) * kMiB; at += 8) {
        const uint64_t value = at * 7 + static_cast<uint64_t>(round);
        if (round == 1) {
          uint64_t before = 0;
          std::memcpy(&before, memory.data() + at, 8);
          ASSERT_EQ(before, at * 7);
        }
        std::memcpy(memory.data() + at, &value, 8);
      }
      memory.trim();
      ASSERT_LE(memory.resident_bytes(), 4 * kMiB) << mib;
    }
  }
}

TEST(DiskMemoryTest, WhatIsUsedOftenStays) {
  DiskMemory memory(disk(), 16 * kMiB, 6 * kMiB);
  std::memset(memory.data(), 1, 16 * kMiB);
  for (int turn = 0; turn < 8; ++turn) {
    memory.will_read(memory.data(), kMiB);                      // always
    memory.will_read(memory.data() + (turn + 2) * kMiB, kMiB);  // once
    for (uint64_t at = 0; at < kMiB; at += 4096) {
      memory.data()[at] = std::byte{2};
      memory.data()[(turn + 2) * kMiB + at] = std::byte{3};
    }
    memory.trim();
    EXPECT_TRUE(turn < 4 || is_resident(memory.data(), kMiB)) << turn;
  }
  EXPECT_LE(memory.resident_bytes(), 7 * kMiB);
  EXPECT_EQ(memory.data()[0], std::byte{2});
  EXPECT_EQ(memory.data()[3 * kMiB], std::byte{3});
  EXPECT_EQ(memory.data()[3 * kMiB + 1], std::byte{1});
}

TEST(DiskMemoryTest, WhatIsAskedForComesWithoutBeingTouched) {
  DiskMemory memory(disk(), 8 * kMiB, kMiB);
  std::memset(memory.data(), 7, 8 * kMiB);
  memory.trim();
  const std::byte* const wanted = memory.data() + 3 * kMiB + 5;  // bytes across a border of pages
  ASSERT_FALSE(is_resident(wanted, 4096));
  memory.will_read(wanted, 4096);
  for (int i = 0; i < 1000 && !is_resident(wanted, 4096); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(is_resident(wanted, 4096));
  EXPECT_FALSE(is_resident(wanted + 4096, 4096));
  for (size_t i = 0; i < 4096; ++i) ASSERT_EQ(wanted[i], std::byte{7});
}

TEST(DiskMemoryTest, LeavesNoFileBehind) {
  const std::filesystem::path folder = std::filesystem::current_path() / "disk_memory_test";
  std::filesystem::create_directory(folder);
  {
    const DiskMemory memory(folder, kMiB, kMiB);
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    EXPECT_EQ(memory.data()[kMiB - 1], std::byte{0});
  }
  EXPECT_TRUE(std::filesystem::remove(folder));
}

TEST(DiskMemoryTest, FaultsNameTheFolder) {
  const auto message = [](auto&& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      return error.what();
    }
    return "";
  };
  const std::string nowhere = disk() + "/nowhere";
  EXPECT_NE(message([&] { free_disk_bytes(nowhere); }).find(nowhere), std::string::npos);
  EXPECT_NE(message([&] { free_disk_bytes("/proc/self/status"); }).find("is no folder"), std::string::npos);
  EXPECT_NE(message([&] { DiskMemory(nowhere, kMiB, kMiB); }).find(nowhere), std::string::npos);
  EXPECT_NE(message([&] { DiskMemory(disk(), uint64_t{1} << 60, kMiB); }).find("cannot hold"), std::string::npos);
  EXPECT_GT(free_disk_bytes(disk()), 0u);
  if (std::filesystem::exists("/dev/shm")) {
    EXPECT_NE(message([] { free_disk_bytes("/dev/shm"); }).find("tmpfs"), std::string::npos);
  }
}

}  // namespace
}  // namespace qwin
