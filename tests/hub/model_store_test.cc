// SPDX-License-Identifier: Apache-2.0
#include "hub/model_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "hub/files.h"
#include "hub/manifest.h"
#include "qwin/error.h"

namespace qwin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class ModelStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(home_);
    setenv("QWIN_HOME", home_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("QWIN_HOME");
    fs::remove_all(home_);
  }

  void add(const std::string& file) {
    const fs::path path = home_ / "models" / file;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "data";
  }
  std::string path_of(const std::string& file) { return (home_ / "models" / file).string(); }
  std::vector<std::string> names() {
    std::vector<std::string> result;
    for (const LocalModel& model : list_models()) result.push_back(model.name);
    return result;
  }
  template <typename Action>
  Error failure(Action action) {
    try {
      action();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "it went through";
    return Error(ErrorCode::io, "");
  }

  const fs::path home_ = testing::TempDir() + "model_store_test." + std::to_string(getpid());
};

TEST_F(ModelStoreTest, EveryListedNameResolvesAndRemoves) {
  add("qwen2.5-coder-0.5b/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
  add("Qwen--Qwen2.5-7B/config.json");
  add("Qwen--Qwen2.5-7B/model.safetensors");
  add("o--n@v2/sub/m-00001-of-00002.gguf");
  add("o--n@v2/sub/m-00002-of-00002.gguf");
  add("o--n@v2/other.gguf");
  add("mine/any.gguf");
  EXPECT_THAT(names(), ElementsAre("Qwen/Qwen2.5-7B", "mine", "o/n@v2:other.gguf", "o/n@v2:sub/m-00001-of-00002.gguf",
                                   "qwen2.5-coder-0.5b"));
  for (const LocalModel& model : list_models()) EXPECT_EQ(resolve_model(model.name), model.path);
  for (const LocalModel& model : list_models()) remove_model(model.name);
  EXPECT_TRUE(names().empty());
  EXPECT_TRUE(fs::is_empty(home_ / "models"));
}

TEST_F(ModelStoreTest, UnfinishedModelsAreNone) {
  add("a--b/m.gguf.partial");
  add("a--b/m.gguf.partial.json");
  add("a--c/m-00001-of-00002.gguf");
  add("a--d/model-00001-of-00002.safetensors");
  add("a--e/config.json");
  EXPECT_TRUE(names().empty());
  EXPECT_EQ(failure([] { resolve_model("a/b"); }).code(), ErrorCode::invalid_argument);
}

TEST_F(ModelStoreTest, AnExistingPathStaysAsItIs) {
  add("mine/any.gguf");
  EXPECT_EQ(resolve_model(path_of("mine/any.gguf")), path_of("mine/any.gguf"));
  EXPECT_EQ(resolve_model(path_of("mine")), path_of("mine"));
}

TEST_F(ModelStoreTest, FolderNameMeansWhatPullSelected) {
  add("o--n/a-q4_k_m.gguf");
  add("o--n/b.gguf");
  EXPECT_THAT(failure([] { resolve_model("o/n"); }).what(), HasSubstr("choose one: o/n:a-q4_k_m.gguf o/n:b.gguf"));
  Manifest manifest;
  manifest.selection = {"a-q4_k_m.gguf"};
  manifest.save(home_ / "models/o--n");
  EXPECT_EQ(resolve_model("hf:o/n"), path_of("o--n/a-q4_k_m.gguf"));
  EXPECT_EQ(resolve_model("o/n:b.gguf"), path_of("o--n/b.gguf"));
  EXPECT_EQ(resolve_model("o/n:a-q4_k_m.gguf"), path_of("o--n/a-q4_k_m.gguf"));
  EXPECT_THAT(names(), ElementsAre("o/n", "o/n:b.gguf"));
}

TEST_F(ModelStoreTest, SaysWhatToPull) {
  const Error known = failure([] { resolve_model("Qwen2.5-Coder-1.5B-instruct"); });
  EXPECT_EQ(known.code(), ErrorCode::invalid_argument);
  EXPECT_THAT(known.what(), HasSubstr("qwin pull qwen2.5-coder-1.5b"));
  EXPECT_THAT(failure([] { resolve_model("o/n:x.gguf"); }).what(), HasSubstr("qwin pull o/n:x.gguf"));
  add("mine/any.gguf");
  const Error unknown = failure([] { resolve_model("yours"); });
  EXPECT_EQ(unknown.code(), ErrorCode::invalid_argument);
  EXPECT_THAT(unknown.what(), HasSubstr("local models: mine"));
}

TEST_F(ModelStoreTest, NamesNeverLeaveTheStore) {
  add("../secret.gguf");
  for (const char* text : {"../x", "a/b:../../../secret.gguf", "../../models", "a/.."}) {
    EXPECT_EQ(failure([&] { resolve_model(text); }).code(), ErrorCode::path) << text;
    EXPECT_EQ(failure([&] { remove_model(text); }).code(), ErrorCode::path) << text;
  }
  EXPECT_TRUE(fs::exists(home_ / "secret.gguf"));
  EXPECT_EQ(failure([] { resolve_model("/no/such.gguf"); }).code(), ErrorCode::io);
}

TEST_F(ModelStoreTest, RemovingOneFileKeepsTheOthers) {
  add("o--n/a.gguf");
  add("o--n/b.gguf");
  add("o--n/a.gguf.partial");
  add("o--n/a.gguf.partial.json");
  remove_model("o/n:a.gguf");
  EXPECT_THAT(names(), ElementsAre("o/n"));
  EXPECT_FALSE(fs::exists(path_of("o--n/a.gguf.partial")));
  EXPECT_FALSE(fs::exists(path_of("o--n/a.gguf.partial.json")));
  EXPECT_EQ(failure([] { remove_model("o/n:a.gguf"); }).code(), ErrorCode::invalid_argument);
}

TEST_F(ModelStoreTest, RemovesPartialDownloadsAndRefusesUnknownNames) {
  add("a--b/m.gguf.partial");
  remove_model("a/b");
  EXPECT_FALSE(fs::exists(path_of("a--b")));
  EXPECT_EQ(failure([] { remove_model("a/b"); }).code(), ErrorCode::invalid_argument);
}

TEST_F(ModelStoreTest, AModelBeingPulledIsNotRemoved) {
  add("a--b/m.gguf.partial");
  FileLock lock;
  ASSERT_TRUE(lock.try_lock(model_lock_path(parse_model_name("a/b"))));
  EXPECT_THAT(failure([] { remove_model("a/b"); }).what(), HasSubstr("being pulled"));
  EXPECT_TRUE(fs::exists(path_of("a--b/m.gguf.partial")));
}

TEST_F(ModelStoreTest, ALinkInTheStoreIsRemovedNotFollowed) {
  fs::create_directories(home_ / "elsewhere");
  std::ofstream(home_ / "elsewhere/m.gguf") << "data";
  fs::create_directories(home_ / "models");
  fs::create_directory_symlink(home_ / "elsewhere", home_ / "models/linked");
  EXPECT_EQ(resolve_model("linked"), path_of("linked/m.gguf"));
  remove_model("linked");
  EXPECT_TRUE(fs::exists(home_ / "elsewhere/m.gguf"));
  EXPECT_TRUE(names().empty());
}

}  // namespace
}  // namespace qwin
