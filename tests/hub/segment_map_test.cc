// SPDX-License-Identifier: Apache-2.0
#include "hub/segment_map.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "hub/files.h"

namespace qwin {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class SegmentMapTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    map_.segments()[0].received = kMiB;
    map_.segments()[2].received = 7;
    map_.save(path_, identity_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  const std::filesystem::path folder_ = testing::TempDir() + "segment_map_test." + std::to_string(getpid());
  const std::filesystem::path path_ = folder_ / "state.json";
  const RemoteIdentity identity_{2 * kMiB + 100, "abc", "\"tag\""};
  SegmentMap map_{2 * kMiB + 100, kMiB};
};

TEST_F(SegmentMapTest, CutsAFileWithoutGapOrOverlap) {
  for (uint64_t bytes : {uint64_t{1}, kMiB - 1, kMiB, kMiB + 1, 10 * kMiB}) {
    uint64_t next = 0;
    const SegmentMap map(bytes, kMiB);
    for (const Segment& segment : map.segments()) {
      EXPECT_EQ(segment.begin, next);
      EXPECT_GT(segment.end, segment.begin);
      EXPECT_LE(segment.end - segment.begin, kMiB);
      next = segment.end;
    }
    EXPECT_EQ(next, bytes);
  }
  EXPECT_TRUE(SegmentMap(0, kMiB).complete());
}

TEST_F(SegmentMapTest, ComesBackAsItWasSaved) {
  const auto loaded = SegmentMap::load(path_, identity_);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->received(), kMiB + 7);
  EXPECT_EQ(loaded->segments()[2].received, 7u);
  EXPECT_FALSE(loaded->complete());
}

TEST_F(SegmentMapTest, OtherContentIsNeverContinued) {
  EXPECT_FALSE(SegmentMap::load(path_, {identity_.bytes + 1, "abc", "\"tag\""}));
  EXPECT_FALSE(SegmentMap::load(path_, {identity_.bytes, "abd", "\"tag\""}));
  EXPECT_FALSE(SegmentMap::load(path_, {identity_.bytes, "abc", "\"other\""}));
}

TEST_F(SegmentMapTest, DamagedStateStartsOver) {
  const std::string good = read_small_file(path_, 4096);
  for (size_t cut = 0; cut < good.size(); ++cut) {
    write_file_atomically(path_, good.substr(0, cut));
    EXPECT_FALSE(SegmentMap::load(path_, identity_)) << cut;
  }
  for (const char* received : {"[1048577,0,0]", "[0,0,101]", "[0,0]", "[0,0,-1]", "[0,0,\"7\"]", "7"}) {
    const std::string from = "[1048576,0,7]";
    std::string bad = good;
    bad.replace(bad.find(from), from.size(), received);
    write_file_atomically(path_, bad);
    EXPECT_FALSE(SegmentMap::load(path_, identity_)) << received;
  }
}

TEST_F(SegmentMapTest, SegmentSizeGivesEveryConnectionWork) {
  EXPECT_EQ(choose_segment_bytes(1, 4), kMiB);
  EXPECT_EQ(choose_segment_bytes(uint64_t{1} << 40, 4), 16 * kMiB);
  EXPECT_EQ(SegmentMap(20 * kMiB, choose_segment_bytes(20 * kMiB, 4)).segments().size(), 4u);
}

}  // namespace
}  // namespace qwin
