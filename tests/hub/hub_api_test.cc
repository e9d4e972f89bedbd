// SPDX-License-Identifier: Apache-2.0
#include "hub/hub_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qwin/error.h"

namespace qwin {
namespace {

using testing::ElementsAre;

const std::string kBlobId(40, 'a');
const std::string kSha256(64, 'b');

std::vector<HubFile> files_named(std::initializer_list<const char*> paths) {
  std::vector<HubFile> files;
  for (const char* path : paths) files.push_back({path, 1, kSha256, ""});
  return files;
}

std::vector<std::string> chosen(std::initializer_list<const char*> paths, const char* name = "o/n") {
  std::vector<std::string> result;
  for (const HubFile& file : choose_hub_files(files_named(paths), parse_model_name(name))) result.push_back(file.path);
  return result;
}

std::string refusal(std::initializer_list<const char*> paths, const char* name = "o/n") {
  try {
    choose_hub_files(files_named(paths), parse_model_name(name));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  ADD_FAILURE() << "chosen after all";
  return "";
}

TEST(HubFilesTest, ReadsSizesAndChecksums) {
  const auto files = parse_hub_files(R"([{"type":"directory","oid":"x","size":0,"path":"d"},
    {"type":"file","oid":")" + kBlobId +
                                     R"(","size":7,"path":"config.json"},
    {"type":"file","oid":")" + kBlobId +
                                     R"(","size":130,"path":"d/m.gguf","lfs":{"oid":")" + kSha256 +
                                     R"(","size":9000,"pointerSize":130}}])");
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].git_blob_id, kBlobId);
  EXPECT_EQ(files[0].bytes, 7u);
  EXPECT_EQ(files[1].sha256, kSha256);
  EXPECT_EQ(files[1].bytes, 9000u);
}

TEST(HubFilesTest, RefusesListsThatCannotBeTrusted) {
  const std::string file = R"({"type":"file","oid":")" + kBlobId + R"(","size":1,"path":)";
  for (const std::string& text :
       {std::string("{}"), std::string("<html>"), std::string("[1]"), "[" + file + R"("../x"}])",
        "[" + file + R"("/x"}])", "[" + file + "7}]", std::string(R"([{"type":"file","size":1,"path":"x"}])"),
        std::string(R"([{"type":"file","oid":"zz","size":1,"path":"x"}])"),
        std::string(R"([{"type":"file","oid":"zz","size":-1,"path":"x"}])")}) {
    EXPECT_THROW(parse_hub_files(text), Error) << text;
  }
}

TEST(ChooseHubFilesTest, PrefersQ4KM) {
  EXPECT_THAT(chosen({"m-q8_0.gguf", "m-Q4_K_M.gguf", "mmproj-q4_k_m.gguf", "config.json"}),
              ElementsAre("m-Q4_K_M.gguf"));
  EXPECT_THAT(chosen({"only.gguf"}), ElementsAre("only.gguf"));
}

TEST(ChooseHubFilesTest, TakesEveryPartOfASplitFile) {
  EXPECT_THAT(chosen({"d/m-q4_k_m-00002-of-00002.gguf", "d/m-q4_k_m-00001-of-00002.gguf", "m-q8_0.gguf"}),
              ElementsAre("d/m-q4_k_m-00001-of-00002.gguf", "d/m-q4_k_m-00002-of-00002.gguf"));
  EXPECT_NE(refusal({"m-q4_k_m-00001-of-00002.gguf"}).find("no file 'm-q4_k_m-00002-of-00002.gguf'"),
            std::string::npos);
}

TEST(ChooseHubFilesTest, ListsTheChoicesWhenUnclear) {
  const std::string text = refusal({"m-q8_0.gguf", "m-q5_k_m.gguf"}, "o/n@v2");
  EXPECT_NE(text.find("hf:o/n@v2:m-q8_0.gguf, hf:o/n@v2:m-q5_k_m.gguf"), std::string::npos) << text;
  EXPECT_NE(refusal({"a-q4_k_m.gguf", "b-q4_k_m.gguf"}).find("choose one"), std::string::npos);
  EXPECT_NE(refusal({"a.gguf"}, "o/n:b.gguf").find("hf:o/n:a.gguf"), std::string::npos);
}

TEST(ChooseHubFilesTest, TakesOnlyWhatASafetensorsModelNeeds) {
  EXPECT_THAT(chosen({".gitattributes", "README.md", "config.json", "model-00001-of-00002.safetensors",
                      "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json",
                      "original/model.safetensors", "pytorch_model.bin", "modeling_x.py"}),
              ElementsAre("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json", "tokenizer.json"));
  EXPECT_NE(refusal({"README.md", "config.json"}).find("neither"), std::string::npos);
}

TEST(ResolveUrlTest, EscapesEveryPiece) {
  const HubEndpoint endpoint{"http://mirror:8/hub", ""};
  EXPECT_EQ(resolve_url(endpoint, "o/n", "refs/pr/1", "d/a b%?#.gguf"),
            "http://mirror:8/hub/o/n/resolve/refs%2Fpr%2F1/d/a%20b%25%3F%23.gguf");
}

}  // namespace
}  // namespace qwin
