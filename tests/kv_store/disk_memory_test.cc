// SPDX-License-Identifier: Apache-2.0
// K and V on a disk: what is given back comes again, memory is kept to, and faults of the folder are told.
#include "kv_store/disk_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "qwin/error.h"

namespace qwin {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// The build's folder: TempDir() may lie in memory.
std::string disk() { return std::filesystem::current_path(); }

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
    for (uint64_t at = 0; at < kMiB; at += 4096) memory.data()[at] = std::byte{2};                      // always
    for (uint64_t at = 0; at < kMiB; at += 4096) memory.data()[(turn + 2) * kMiB + at] = std::byte{3};  // once
    memory.trim();
  }
  EXPECT_LE(memory.resident_bytes(), 7 * kMiB);
  EXPECT_EQ(memory.data()[0], std::byte{2});
  EXPECT_EQ(memory.data()[3 * kMiB], std::byte{3});
  EXPECT_EQ(memory.data()[3 * kMiB + 1], std::byte{1});
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
