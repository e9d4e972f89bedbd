// SPDX-License-Identifier: Apache-2.0
#include "model/head_ranks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "qwin/error.h"

namespace qwin {
namespace {

class HeadRanksTest : public testing::Test {
 protected:
  HeadRanksTest() {
    config_.num_layers = 2;
    config_.num_kv_heads = 2;
  }
  ~HeadRanksTest() override { std::filesystem::remove(file_); }
  void write(const std::string& text) const { std::ofstream(file_) << text; }

  ModelConfig config_;
  const std::string file_ =
      (std::filesystem::temp_directory_path() / ("qwin_heads_" + std::to_string(::getpid()))).string();
};

TEST_F(HeadRanksTest, ComeInOrderOfWhatIsLost) {
  write_heads(file_, config_, {.lost = {0.1, 0.5, 0.1, 0.9}});
  EXPECT_EQ(read_head_ranks(file_, config_), (std::vector<int32_t>{2, 1, 3, 0}));
}

TEST_F(HeadRanksTest, NoFileIsNoFault) { EXPECT_EQ(read_head_ranks(file_, config_), std::nullopt); }

TEST_F(HeadRanksTest, RefuseWhatDoesNotFit) {
  for (const char* text : {"", "[]", "{}", R"({"version":2,"num_layers":2,"num_kv_heads":2,"lost":[[1,2],[3,4]]})",
                           R"({"version":1,"num_layers":2,"num_kv_heads":2,"lost":[[1,2],[3]]})",
                           R"({"version":1,"num_layers":2,"num_kv_heads":2,"lost":[[1,2],[3,"x"]]})",
                           R"({"version":1,"num_layers":2,"num_kv_heads":1,"lost":[[1],[3]]})"}) {
    write(text);
    EXPECT_THROW(read_head_ranks(file_, config_), Error) << text;
  }
}

TEST_F(HeadRanksTest, LieBesideTheModel) {
  EXPECT_EQ(heads_file("/a/model.gguf"), "/a/model.gguf.heads.json");
  const std::string folder = std::filesystem::temp_directory_path().string();
  EXPECT_EQ(heads_file(folder), (std::filesystem::path(folder) / "qwin_heads.json").string());
}

}  // namespace
}  // namespace qwin
