// SPDX-License-Identifier: Apache-2.0
#include "io/model_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "io/gguf_writer.h"
#include "io/io_test_support.h"
#include "io/safetensors_writer.h"

namespace qwin {
namespace {

using testing::error_of;
using testing::GgufWriter;
using testing::safetensors_of;
using testing::TemporaryFolder;

class ModelFilesTest : public ::testing::Test {
 protected:
  void write_model(const std::string& directory) {
    folder_.write(directory + "/config.json", R"({"model_type":"qwen2"})");
    folder_.write(directory + "/model.safetensors", safetensors_of({{"a", "aaaa"}}));
  }
  std::string error(const std::string& name) {
    return error_of([&] { open_model_files(folder_ / name); });
  }
  void link(const std::string& target, const std::string& name) {
    std::filesystem::remove(folder_ / name);
    std::filesystem::create_directories(std::filesystem::path(folder_ / name).parent_path());
    std::filesystem::create_symlink(target, folder_ / name);
  }

  TemporaryFolder folder_;
};

TEST_F(ModelFilesTest, OpensAGgufFileOfAnyName) {
  GgufWriter writer;
  writer.add_string("general.name", "x");
  writer.add_tensor("a", DType::f32, {1}, "aaaa");
  writer.write(folder_ / "model.bin");
  const ModelFiles model = open_model_files(folder_ / "model.bin");
  EXPECT_EQ(model.format, ModelFiles::Format::gguf);
  EXPECT_EQ(model.path, folder_ / "model.bin");
  EXPECT_EQ(model.gguf.get_string("general.name", ""), "x");
  EXPECT_EQ(model.tensors.find("a")->data.text(), "aaaa");
}

TEST_F(ModelFilesTest, OpensADirectory) {
  write_model("m");
  ModelFiles model = open_model_files(folder_ / "m");
  EXPECT_EQ(model.format, ModelFiles::Format::safetensors);
  EXPECT_EQ(model.config["model_type"], "qwen2");
  EXPECT_TRUE(model.generation_config.is_null());
  EXPECT_TRUE(model.tokenizer_config.is_null());
  EXPECT_FALSE(model.tokenizer_json.has_value());
  EXPECT_FALSE(model.chat_template.has_value());
  folder_.write("m/generation_config.json", "{}");
  folder_.write("m/tokenizer_config.json", "{}");
  folder_.write("m/tokenizer.json", "text");
  folder_.write("m/chat_template.jinja", "template");
  model = open_model_files(folder_ / "m");
  EXPECT_TRUE(model.generation_config.is_object());
  EXPECT_TRUE(model.tokenizer_config.is_object());
  EXPECT_EQ(model.tokenizer_json, "text");
  EXPECT_EQ(model.chat_template, "template");
}

TEST_F(ModelFilesTest, RefusesWhatIsNoModel) {
  folder_.write("empty_directory/x", "x");
  folder_.write("text", "hello, this is text");
  folder_.write("empty", "");
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(error("empty_directory"), "io");
  EXPECT_EQ(error("text"), "bad_magic");
  EXPECT_EQ(error("empty"), "io");
  EXPECT_EQ(error("fifo"), "io");
  EXPECT_EQ(error("absent"), "io");
}

TEST_F(ModelFilesTest, RefusesBadDocuments) {
  write_model("m");
  folder_.write("m/config.json", "[]");
  EXPECT_EQ(error("m"), "bad_config");
  folder_.write("m/config.json", "{");
  EXPECT_EQ(error("m"), "bad_config");
  folder_.write("m/config.json", "");
  EXPECT_EQ(error("m"), "io");
  folder_.write("m/config.json", "{\"a\":\"" + std::string(2 << 20, 'x') + "\"}");
  EXPECT_EQ(error("m"), "too_large");
  folder_.write("m/config.json", "{}");
  folder_.write("m/tokenizer_config.json", "x");
  EXPECT_EQ(error("m"), "bad_tokenizer");
}

TEST_F(ModelFilesTest, RefusesSpecialFilesInADirectory) {
  write_model("m");
  std::filesystem::remove(folder_ / "m/model.safetensors");
  ASSERT_EQ(mkfifo((folder_ / "m/model.safetensors").c_str(), 0600), 0);
  EXPECT_EQ(error("m"), "io");
  link("/dev/zero", "m/model.safetensors");
  EXPECT_EQ(error("m"), "path");
}

TEST_F(ModelFilesTest, FollowsLinksInsideTheDirectoryOnly) {
  write_model("m");
  std::filesystem::rename(folder_ / "m/model.safetensors", folder_ / "m/weights");
  link("weights", "m/model.safetensors");
  EXPECT_EQ(error("m"), "none");
  folder_.write("outside.safetensors", safetensors_of({{"a", "aaaa"}}));
  for (const std::string& target : {std::string("../outside.safetensors"), folder_ / "outside.safetensors"}) {
    link(target, "m/model.safetensors");
    EXPECT_EQ(error("m"), "path") << target;
  }
  link("../outside.safetensors", "m/config.json");
  EXPECT_EQ(error("m"), "path");
  link("nowhere", "m/config.json");
  EXPECT_EQ(error("m"), "io");
}

TEST_F(ModelFilesTest, FollowsLinksOfTheHubCache) {
  write_model("models--x/blobs");
  std::filesystem::rename(folder_ / "models--x/blobs/model.safetensors", folder_ / "models--x/blobs/0123");
  std::filesystem::rename(folder_ / "models--x/blobs/config.json", folder_ / "models--x/blobs/4567");
  link("../../blobs/0123", "models--x/snapshots/rev/model.safetensors");
  link("../../blobs/4567", "models--x/snapshots/rev/config.json");
  EXPECT_EQ(error("models--x/snapshots/rev"), "none");
  link("models--x/snapshots/rev", "by_link");
  EXPECT_EQ(error("by_link"), "none");
  link("../../blobs/../blobs2/0123", "models--x/snapshots/rev/model.safetensors");
  folder_.write("models--x/blobs2/0123", safetensors_of({{"a", "aaaa"}}));
  EXPECT_EQ(error("models--x/snapshots/rev"), "path");
}

}  // namespace
}  // namespace qwin
