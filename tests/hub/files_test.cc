// SPDX-License-Identifier: Apache-2.0
#include "hub/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace qwin {
namespace {

namespace fs = std::filesystem;

TEST(FilesTest, AFileWithoutAFolderIsWrittenIntoTheWorkingDirectory) {
  const fs::path before = fs::current_path(), folder = fs::temp_directory_path() / ("qwin-" + std::to_string(getpid()));
  fs::create_directories(folder);
  fs::current_path(folder);
  write_file_atomically("answers.jsonl", "text");
  write_file_atomically("answers.jsonl", "other");
  EXPECT_EQ(read_small_file(folder / "answers.jsonl", 100), "other");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
  fs::current_path(before);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace qwin
