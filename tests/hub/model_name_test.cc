// SPDX-License-Identifier: Apache-2.0
#include "hub/model_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qwin/error.h"

namespace qwin {
namespace {

using testing::ElementsAre;

ErrorCode refusal(std::string_view text) {
  try {
    parse_model_name(text);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << text << " was accepted";
  return ErrorCode::cancelled;
}

TEST(ModelNameTest, KnownNamesIgnoreCaseAndTakeBothSuffixes) {
  for (const char* text : {"qwen2.5-coder-0.5b", "Qwen2.5-Coder-0.5B", "qwen2.5-coder-0.5b-instruct",
                           "qwen2.5-coder-0.5b-q4_k_m", "QWEN2.5-Coder-0.5B-Instruct-Q4_K_M"}) {
    const ModelName name = parse_model_name(text);
    ASSERT_NE(name.known, nullptr) << text;
    EXPECT_EQ(name.known->bytes, 491400064u);
    EXPECT_EQ(name.folder(), "qwen2.5-coder-0.5b");
    EXPECT_EQ(name.text(), "qwen2.5-coder-0.5b");
  }
  EXPECT_EQ(parse_model_name("qwen2.5-coder-1.5b").known->num_parts, 22);
  EXPECT_EQ(parse_model_name("qwen2.5-coder-7b").known, nullptr);
}

TEST(ModelNameTest, HubNamesComeApart) {
  const ModelName name = parse_model_name("hf:Qwen/Qwen3-4B-GGUF@refs/pr/3:sub/Qwen3-4B-Q4_K_M.gguf");
  EXPECT_EQ(name.owner, "Qwen");
  EXPECT_EQ(name.name, "Qwen3-4B-GGUF");
  EXPECT_EQ(name.revision, "refs/pr/3");
  EXPECT_EQ(name.file, "sub/Qwen3-4B-Q4_K_M.gguf");
  EXPECT_EQ(name.folder(), "Qwen--Qwen3-4B-GGUF@refs--pr--3");
  EXPECT_EQ(name.text(), "Qwen/Qwen3-4B-GGUF@refs/pr/3:sub/Qwen3-4B-Q4_K_M.gguf");
}

TEST(ModelNameTest, PlainOwnerAndNameMeanTheHub) {
  const ModelName name = parse_model_name("Qwen/Qwen2.5-7B-Instruct");
  EXPECT_TRUE(name.on_hub());
  EXPECT_EQ(name.revision, "main");
  EXPECT_EQ(name.folder(), "Qwen--Qwen2.5-7B-Instruct");
}

TEST(ModelNameTest, FolderNamesLeadBack) {
  for (const char* text : {"Qwen/Qwen2.5-7B-Instruct", "a/b@refs/pr/1", "a/b@v1.0", "mine"}) {
    EXPECT_EQ(name_of_folder(parse_model_name(text).folder()).text(), text);
  }
}

TEST(ModelNameTest, RefusesWhatWouldLeaveTheStore) {
  for (const char* text : {"../x", "..", "a/..", "../../etc/passwd", "a/b:../../x", "a/b:/etc/passwd", "a/b@../x",
                           "hf:../b", "/etc/passwd", "a\\..\\b", "a/b:x\\y", "x/../y"}) {
    EXPECT_EQ(refusal(text), ErrorCode::path) << text;
  }
}

TEST(ModelNameTest, RefusesOtherBadSpellings) {
  for (const char* text : {"", "hf:", "hf:alone", "a/b/c", "a/", "/b@", "a/b:", "a/b@", "a b", "a/b\n", ".hidden", "-x",
                           "a/b:x//y", "a/b:./x", "a--b/c", "a/b@c--d", "local@v1", "a/b@v 1"}) {
    const ErrorCode code = refusal(text);
    EXPECT_TRUE(code == ErrorCode::invalid_argument || code == ErrorCode::path) << text;
  }
  EXPECT_EQ(refusal(std::string(1000, 'a')), ErrorCode::invalid_argument);
}

TEST(SplitFileNamesTest, AnyPartGivesAllParts) {
  EXPECT_THAT(split_file_names("d/x-00002-of-00003.gguf"),
              ElementsAre("d/x-00001-of-00003.gguf", "d/x-00002-of-00003.gguf", "d/x-00003-of-00003.gguf"));
}

TEST(SplitFileNamesTest, OtherFilesStandAlone) {
  for (const char* text : {"x.gguf", "x-00004-of-00003.gguf", "x-00000-of-00003.gguf", "x-0001-of-00003.gguf",
                           "x-00001-of-0000a.gguf", "x-00001-of-00002.bin", "-00001-of-00002.gguf"}) {
    EXPECT_THAT(split_file_names(text), ElementsAre(text));
  }
  EXPECT_THROW(split_file_names("x-00001-of-99999.gguf"), Error);
}

}  // namespace
}  // namespace qwin
