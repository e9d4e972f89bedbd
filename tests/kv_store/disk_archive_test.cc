// SPDX-License-Identifier: Apache-2.0
#include "kv_store/disk_archive.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "kv_store/page_file.h"

namespace qwin {
namespace {

constexpr size_t kPageBytes = 1000;

class DiskArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/archiveXXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    std::filesystem::permissions(directory_, std::filesystem::perms::owner_all);
    std::filesystem::remove_all(directory_);
  }

  std::unique_ptr<DiskArchive> open(uint64_t max_bytes = 1 << 20, const std::string& identity = "model") {
    return std::make_unique<DiskArchive>(DiskArchiveOptions{
        .directory = directory_, .max_bytes = max_bytes, .identity = identity, .page_bytes = [this](int32_t page) {
          return std::span(memory_).subspan(static_cast<size_t>(page) * kPageBytes, kPageBytes);
        }});
  }
  void fill(int32_t page, int value) {
    std::fill_n(memory_.begin() + page * static_cast<int>(kPageBytes), kPageBytes, static_cast<std::byte>(value));
  }
  bool holds(int32_t page, int value) const {
    const auto begin = memory_.begin() + page * static_cast<int>(kPageBytes);
    return std::all_of(begin, begin + kPageBytes, [&](std::byte b) { return b == static_cast<std::byte>(value); });
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) paths.push_back(entry.path());
    return paths;
  }
  static size_t load(DiskArchive& archive, const std::vector<PageFetch>& fetches) { return archive.load(fetches); }
  // A chain of pages with the tokens {1, 1}, {2, 2} …, filled with 1, 2, …
  std::vector<PageDigest> store_chain(DiskArchive& archive, int length, const CachePlan& plan = {}) {
    std::vector<PageDigest> digests{archive.root(plan)};
    for (int i = 1; i <= length; ++i) {
      fill(0, i);
      const std::vector<int32_t> tokens(2, i);
      archive.store(digests.back(), tokens, 0);
      digests.push_back(archive.child(digests.back(), tokens));
    }
    archive.flush();
    return digests;
  }

  std::filesystem::path directory_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(4 * kPageBytes);
};

TEST_F(DiskArchiveTest, WhatWasStoredIsFoundAfterARestart) {
  const std::vector<PageDigest> digests = store_chain(*open(), 3);
  const auto archive = open();
  EXPECT_EQ(archive->root({}), digests[0]);
  for (size_t i = 0; i < 3; ++i) {
    const auto found = archive->find(digests[i], std::vector<int32_t>(3, static_cast<int32_t>(i) + 1));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->num_tokens, 2);
    EXPECT_EQ(load(*archive, {{found->digest, 2}}), 1u);
    EXPECT_TRUE(holds(2, static_cast<int>(i) + 1));
  }
  EXPECT_EQ(archive->stats().bytes, 3 * page_file_size(2, kPageBytes));
  EXPECT_TRUE(archive->stats().rejected.empty());
}

TEST_F(DiskArchiveTest, OtherPlansModelsAndTokensAreMisses) {
  const auto archive = open();
  store_chain(*archive, 1);
  EXPECT_FALSE(archive->find(archive->root({.salt = "x"}), std::vector<int32_t>{1, 1}));
  EXPECT_FALSE(archive->find(archive->root({.window = 8}), std::vector<int32_t>{1, 1}));
  EXPECT_FALSE(archive->find(archive->root({}), std::vector<int32_t>{2, 1}));
  EXPECT_EQ(archive->find(archive->root({}), std::vector<int32_t>{1, 7})->num_tokens, 1);
  const auto other = open(1 << 20, "other model");
  EXPECT_FALSE(other->find(other->root({}), std::vector<int32_t>{1, 1}));
}

TEST_F(DiskArchiveTest, AnyChangedByteIsAMissAndTheFileGoes) {
  const std::vector<int32_t> tokens{1, 1};
  const size_t size = page_file_size(2, kPageBytes);
  for (size_t offset = 0; offset < size; offset += offset < 100 ? 1 : 37) {
    const auto archive = open();
    const std::vector<PageDigest> digests = store_chain(*archive, 1);
    const std::filesystem::path path = directory_ / page_file_name(digests[1]);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get() ^ 0x20);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
    file.close();
    EXPECT_EQ(load(*archive, {{digests[1], 1}}), 0u) << "byte " << offset;
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_FALSE(archive->find(digests[0], tokens));
    EXPECT_EQ(archive->stats().rejected.size(), 1u);
    EXPECT_EQ(archive->stats().bytes, 0u);
  }
}

// As if two texts had the same SHA-256: the name says one thing, the tokens in the file another.
TEST_F(DiskArchiveTest, AnotherTextUnderTheSameNameIsAMiss) {
  const auto archive = open();
  const std::vector<PageDigest> digests = store_chain(*archive, 2);
  fill(1, 77);
  std::filesystem::copy_file(directory_ / page_file_name(digests[2]), directory_ / page_file_name(digests[1]),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(load(*archive, {{digests[1], 1}}), 0u);
  EXPECT_TRUE(holds(1, 77)) << "not a byte of the other's is taken";
  EXPECT_EQ(archive->stats().rejected.at("tokens"), 1u);
}

TEST(PageFileTest, NamesAreSha256) {
  EXPECT_EQ(page_file_name(sha256(std::as_bytes(std::span("abc", 3)))).substr(0, 64),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(DiskArchiveTest, TruncatedForeignAndHalfWrittenFilesAreSweptAtTheStart) {
  const std::vector<PageDigest> digests = store_chain(*open(), 3);
  std::filesystem::resize_file(directory_ / page_file_name(digests[1]), 90);
  std::filesystem::resize_file(directory_ / page_file_name(digests[2]), 0);
  std::filesystem::rename(directory_ / page_file_name(digests[3]), directory_ / page_file_name(digests[0]));
  std::ofstream(directory_ / (page_file_name(digests[1]) + ".77.part")) << "cut short";
  std::ofstream(directory_ / "notes.txt") << "not ours";
  const auto archive = open();
  EXPECT_EQ(archive->stats().bytes, 0u);
  EXPECT_EQ(archive->stats().rejected.at("size"), 2u);
  EXPECT_EQ(archive->stats().rejected.at("name"), 1u);
  ASSERT_EQ(files().size(), 1u);
  EXPECT_EQ(files()[0].filename(), "notes.txt");
}

TEST_F(DiskArchiveTest, StaysBelowItsCapAndKeepsWhatOthersStandOn) {
  const uint64_t file = page_file_size(2, kPageBytes);
  const auto archive = open(4 * file);
  const std::vector<PageDigest> digests = store_chain(*archive, 3);
  std::vector<int32_t> tokens{50, 50};
  for (int i = 0; i < 5; ++i, ++tokens[0]) {
    fill(1, 50 + i);
    archive->store(digests[0], tokens, 1);
    archive->flush();
    EXPECT_LE(archive->stats().bytes, 4 * file);
    EXPECT_LE(files().size(), 4u);
  }
  EXPECT_TRUE(archive->find(digests[0], std::vector<int32_t>{54, 50})) << "the newest is there";
  EXPECT_FALSE(archive->find(digests[2], std::vector<int32_t>{3, 3})) << "the end of the chain went first";
}

TEST_F(DiskArchiveTest, AFileThatCannotFitDrivesNothingOut) {
  const uint64_t file = page_file_size(2, kPageBytes);
  const auto archive = open(file);
  const std::vector<PageDigest> digests = store_chain(*archive, 1);
  archive->store(digests[0], std::vector<int32_t>(3, 9), 1);  // larger by a token
  archive->flush();
  EXPECT_TRUE(archive->find(digests[0], std::vector<int32_t>{1, 1}));
  EXPECT_EQ(archive->stats().bytes, file);
  EXPECT_EQ(archive->stats().write_errors, 0u);
}

TEST_F(DiskArchiveTest, PagesAreLoadedUpToTheFirstThatIsInDoubt) {
  const auto archive = open();
  const std::vector<PageDigest> digests = store_chain(*archive, 3);
  EXPECT_EQ(load(*archive, {{digests[1], 1}, {digests[2], 2}, {digests[3], 3}}), 3u);
  for (int i = 1; i <= 3; ++i) EXPECT_TRUE(holds(i, i));
  std::filesystem::resize_file(directory_ / page_file_name(digests[2]), 90);
  EXPECT_EQ(load(*archive, {{digests[1], 1}, {digests[2], 2}, {digests[3], 3}}), 1u);
  EXPECT_EQ(archive->stats().rejected.at("size"), 1u);
  EXPECT_EQ(load(*archive, {{digests[1], 1}, {digests[2], 2}}), 1u) << "forgotten";
  EXPECT_EQ(archive->stats().rejected.at("size"), 1u);
  EXPECT_EQ(load(*archive, {}), 0u);
}

TEST_F(DiskArchiveTest, WhatWaitsToBeWrittenStaysBelowTheCapToo) {
  const auto archive = open(4 * page_file_size(2, kPageBytes));
  const PageDigest root = archive->root({});
  const auto tokens = [](int32_t i) { return std::vector<int32_t>{i, i}; };
  // The first file is a pipe: the disk is as slow as its reader.
  const std::string name = page_file_name(archive->child(root, tokens(0)));
  const std::filesystem::path pipe =
      directory_ / (name + "." + std::to_string(::getpid()) + std::string(kPageFilePart));
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (int32_t i = 0; i < 10; ++i) archive->store(root, tokens(i), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY);
  archive->flush();
  ::close(reader);
  EXPECT_EQ(archive->stats().write_errors, 1u) << "no file can be synced that is a pipe";
  for (int32_t i = 1; i < 4; ++i) EXPECT_TRUE(archive->find(root, tokens(i))) << i;
  for (int32_t i = 4; i < 10; ++i) EXPECT_FALSE(archive->find(root, tokens(i))) << i;
}

TEST_F(DiskArchiveTest, FailingDiskIsCountedAndHarmsNothing) {
  const auto archive = open();
  const std::vector<PageDigest> digests = store_chain(*archive, 1);
  std::filesystem::remove_all(directory_);
  std::ofstream(directory_) << "a file where the directory was";
  archive->store(digests[1], std::vector<int32_t>{9, 9}, 0);
  archive->flush();
  EXPECT_EQ(archive->stats().write_errors, 1u);
  EXPECT_EQ(load(*archive, {{digests[1], 2}}), 0u);
  EXPECT_EQ(archive->stats().rejected.at("missing"), 1u);
  std::filesystem::remove(directory_);
  std::filesystem::create_directory(directory_);
}

TEST_F(DiskArchiveTest, FilesAreForTheOwnerAlone) {
  store_chain(*open(), 1);
  struct stat status{};
  ASSERT_EQ(::stat(files().at(0).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(directory_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

}  // namespace
}  // namespace qwin
