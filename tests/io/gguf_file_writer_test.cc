// SPDX-License-Identifier: Apache-2.0
#include "io/gguf_file_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "io/gguf_writer.h"
#include "qwin/error.h"

namespace qwin {
namespace {

namespace fs = std::filesystem;

class GgufFileWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directory(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path().filename().string());
    return found;
  }

  fs::path folder_;
};

std::string metadata_bytes(const GgufMetadata& metadata) {
  std::string out;
  for (const auto& [key, value] : metadata.entries()) {
    out += std::string(key) + " " + std::to_string(static_cast<int>(value.type)) + " " + std::to_string(value.u) + " " +
           std::to_string(value.i) + " " + std::to_string(value.f) + " " + std::string(value.s) + " " +
           std::to_string(value.count) + " " + std::string(value.elements.text());
    for (const auto text : value.strings) out += "|" + std::string(text);
    out += "\n";
  }
  return out;
}

TEST_F(GgufFileWriterTest, EveryKindOfValueAndTensorComesBack) {
  testing::GgufWriter source;
  source.add_string("general.architecture", "qwen2");
  testing::add_every_type(source);
  const std::string bytes = source.bytes();
  const GgufFile read = read_gguf(FileSpan::of_memory(bytes.data(), bytes.size()));
  {
    GgufFileWriter writer(path("out.gguf"));
    for (const auto& [key, value] : read.metadata.entries()) writer.add(key, value);
    writer.add_uint(kOwnFormatKey, kOwnFormatVersion);
    writer.add_tensor("one", DType::f32, {3});
    writer.add_tensor("two", DType::q4, {2, 256});
    writer.write_tensor(reinterpret_cast<const std::byte*>("abcdefghijkl"), 12);
    const std::vector<std::byte> blocks(4 * 68, std::byte{7});
    writer.write_tensor(blocks.data(), blocks.size());
    writer.finish();
    EXPECT_EQ(writer.file_bytes(), fs::file_size(path("out.gguf")));
  }
  const GgufFile written = open_gguf(path("out.gguf"));
  const std::string expected = metadata_bytes(read.metadata);
  EXPECT_EQ(metadata_bytes(written.metadata).substr(0, expected.size()), expected);
  EXPECT_EQ(written.metadata.get_uint(kOwnFormatKey, 0), kOwnFormatVersion);
  EXPECT_EQ(written.tensors.find("one")->data.text(), "abcdefghijkl");
  EXPECT_EQ(written.tensors.find("two")->dtype, DType::q4);
  EXPECT_THAT(written.tensors.find("two")->shape, ::testing::ElementsAre(2, 256));
  EXPECT_EQ(written.tensors.find("two")->data.text(), std::string(4 * 68, '\7'));
}

TEST_F(GgufFileWriterTest, WhatIsNotFinishedIsNotThere) {
  std::ofstream(path("out.gguf")) << "before";
  {
    GgufFileWriter writer(path("out.gguf"));
    writer.add_tensor("one", DType::f32, {3});
    writer.write_tensor(reinterpret_cast<const std::byte*>("abcdefghijkl"), 12);
  }
  EXPECT_THAT(names(), ::testing::ElementsAre("out.gguf"));
  std::string text;
  std::ifstream(path("out.gguf")) >> text;
  EXPECT_EQ(text, "before");
}

TEST_F(GgufFileWriterTest, RefusesPlacesWhereNoFileCanBe) {
  for (const std::string& place : {path("absent/out.gguf"), folder_.string()}) {
    try {
      const OutputFile file(place);
      ADD_FAILURE() << place;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
    }
  }
  EXPECT_THAT(names(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace qwin
