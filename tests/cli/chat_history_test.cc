// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace qwin {
namespace {

using ::testing::ElementsAre;

class ChatHistoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "qwin_history_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ / "home" / "history";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& text) {
    std::filesystem::create_directories(path_.parent_path());
    std::ofstream(path_, std::ios::binary) << text;
  }
  std::string read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  mode_t mode() const {
    struct stat status{};
    EXPECT_EQ(stat(path_.c_str(), &status), 0);
    return status.st_mode & 0777;
  }

  std::filesystem::path folder_, path_;
};

TEST_F(ChatHistoryTest, EntriesComeBackInOrder) {
  {
    ChatHistory history(path_);
    EXPECT_TRUE(history.entries().empty());
    for (const char* entry : {"one", "two\nlines", "two\nlines", "back\\slash \\n", "ä中"}) history.add(entry);
    history.add("");
  }
  EXPECT_THAT(ChatHistory(path_).entries(), ElementsAre("one", "two\nlines", "back\\slash \\n", "ä中"));
}

TEST_F(ChatHistoryTest, OnlyTheOwnerMayRead) {
  ChatHistory(path_).add("secret");
  EXPECT_EQ(mode(), 0600u);
  std::filesystem::permissions(path_, std::filesystem::perms(0644));
  ChatHistory(path_).add("another");
  EXPECT_EQ(mode(), 0600u);
}

TEST_F(ChatHistoryTest, TwoChatsAtOnceLoseNothing) {
  ChatHistory first(path_), second(path_);
  first.add("a");
  second.add("b");
  first.add("c");
  EXPECT_THAT(ChatHistory(path_).entries(), ElementsAre("a", "b", "c"));
}

TEST_F(ChatHistoryTest, AnOutgrownFileIsCut) {
  std::string text;
  for (size_t i = 0; i < 2 * ChatHistory::kMaxEntries + 1; ++i) text += "entry " + std::to_string(i) + "\n";
  write(text);
  const ChatHistory history(path_);
  ASSERT_EQ(history.entries().size(), ChatHistory::kMaxEntries);
  EXPECT_EQ(history.entries().back(), "entry 2000");
  EXPECT_EQ(history.entries().front(), "entry 1001");
  EXPECT_TRUE(read().starts_with("entry 1001\n"));
  EXPECT_EQ(mode(), 0600u);

  write(std::string(ChatHistory::kMaxFileBytes, 'x') + "\nlast\n");
  EXPECT_THAT(ChatHistory(path_).entries(), ElementsAre("last"));
  EXPECT_EQ(read(), "last\n");
}

TEST_F(ChatHistoryTest, LongEntriesAndForeignBytesAreLeftOut) {
  write("good\n\xFF\xFE\n\n" + std::string(3 * ChatHistory::kMaxEntryBytes, 'y') + "\nno line break at the end\\");
  ChatHistory history(path_);
  EXPECT_THAT(history.entries(), ElementsAre("good", "no line break at the end\\"));
  history.add(std::string(ChatHistory::kMaxEntryBytes + 1, 'z'));
  EXPECT_EQ(history.entries().size(), 2u);
}

TEST_F(ChatHistoryTest, AHugeFileWithoutLineBreaksIsNothing) {
  write(std::string(ChatHistory::kMaxFileBytes + 5, 'x'));
  EXPECT_TRUE(ChatHistory(path_).entries().empty());
}

TEST_F(ChatHistoryTest, AFolderInItsPlaceIsNoFault) {
  std::filesystem::create_directories(path_);
  ChatHistory history(path_);
  history.add("kept for this chat");
  EXPECT_THAT(history.entries(), ElementsAre("kept for this chat"));
}

}  // namespace
}  // namespace qwin
