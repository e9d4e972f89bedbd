// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/io_test_support.h"
#include "io/safetensors_writer.h"

namespace qwin {
namespace {

using testing::error_of;
using testing::safetensors_bytes;
using testing::safetensors_entry;
using testing::safetensors_of;
using testing::TemporaryFolder;

TensorTable read_bytes(const std::string& bytes) {
  TensorTable table;
  uint64_t left = kMaxSafetensorsHeaderBytes;
  read_safetensors(FileSpan::of_memory(bytes.data(), bytes.size()), "model.safetensors", left, table);
  return table;
}

std::string error_of_bytes(const std::string& bytes) {
  return error_of([&] { read_bytes(bytes); });
}

std::string error_of_header(const std::string& header, const std::string& data = std::string(8, 'x')) {
  return error_of_bytes(safetensors_bytes(header, data));
}

// {"a": F32 [1] at begin..end}, eight bytes of data
std::string error_of_entry(const std::string& dtype, const std::string& shape, uint64_t begin, uint64_t end) {
  return error_of_header("{" + safetensors_entry("a", dtype, shape, begin, end) + "}");
}

const char kGood[] =
    R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";

TEST(SafetensorsTest, ReadsTensorsInAnyOrder) {
  const std::string bytes = safetensors_bytes(
      "{" + safetensors_entry("b", "BF16", "[2,1]", 8, 12) + "," + safetensors_entry("a", "F32", "[1,2]", 0, 8) + "," +
          R"("__metadata__":{"format":"pt"},)" + safetensors_entry("c", "F16", "[1]", 12, 14) + "}   ",
      "aaaaaaaabbbbcc");
  const TensorTable table = read_bytes(bytes);
  ASSERT_EQ(table.tensors().size(), 3u);
  EXPECT_EQ(table.find("a")->data.text(), "aaaaaaaa");
  EXPECT_EQ(table.find("b")->data.text(), "bbbb");
  EXPECT_EQ(table.find("b")->dtype, DType::bf16);
  EXPECT_EQ(table.find("c")->dtype, DType::f16);
  EXPECT_THAT(table.find("a")->shape, ::testing::ElementsAre(1, 2));
}

TEST(SafetensorsTest, AcceptsAnEmptyFile) { EXPECT_EQ(error_of_bytes(safetensors_bytes("{}", "")), "none"); }

TEST(SafetensorsTest, RefusesHeaderTooSmall) {
  EXPECT_EQ(error_of_bytes("1234567"), "out_of_file");
  EXPECT_EQ(error_of_bytes(std::string(8, '\0')), "bad_magic");
}

TEST(SafetensorsTest, RefusesHeaderTooLarge) {
  EXPECT_EQ(error_of_bytes(safetensors_bytes("{}", "", kMaxSafetensorsHeaderBytes)), "too_large");
  EXPECT_EQ(error_of_bytes(safetensors_bytes("{}", "", -10)), "too_large");  // 2^64 - 8: header length + 8 wraps
}

TEST(SafetensorsTest, RefusesInvalidHeaderLength) {
  EXPECT_EQ(error_of_bytes(safetensors_bytes("{}", "", 1)), "out_of_file");
}

TEST(SafetensorsTest, RefusesInvalidHeaderText) {
  EXPECT_EQ(error_of_header(" {}"), "bad_magic");
  EXPECT_EQ(error_of_header("[]"), "bad_magic");
  EXPECT_EQ(error_of_header("{\"\xff\":1}"), "bad_config");
  EXPECT_EQ(error_of_header("{"), "bad_config");
  EXPECT_EQ(error_of_header(std::string(kGood) + "x"), "bad_config");
  EXPECT_EQ(error_of_header("{}{}"), "bad_config");
}

TEST(SafetensorsTest, RefusesInvalidHeaderDeserialization) {
  for (const char* header : {R"({"a":1})",
                             R"({"a":"F32"})",
                             R"({"a":[]})",
                             R"({"a":null})",
                             R"({"a":{}})",
                             R"({"a":{"dtype":"F32","shape":[1]}})",
                             R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,8]}})",
                             R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,8]}})",
                             R"({"a":{"dtype":"F32","shape":"1","data_offsets":[0,8]}})",
                             R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,8]}})",
                             R"({"a":{"dtype":"F32","shape":[{"b":1}],"data_offsets":[0,8]}})",
                             R"({"a":{"dtype":"F32","shape":{"b":1},"data_offsets":[0,8]}})",
                             R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,8]}})",
                             R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})",
                             R"({"a":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}})",
                             R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})",
                             R"({"__metadata__":{"a":1}})",
                             R"({"__metadata__":{"a":{}}})",
                             R"({"__metadata__":[]})",
                             R"({"__metadata__":"x"})"}) {
    EXPECT_EQ(error_of_header(header), "bad_config") << header;
  }
  for (const char* shape : {"[-1]", "[1.5]", "[36893488147419103232]", "[1,1,1,1,1,1,1,1,2]"}) {
    EXPECT_EQ(error_of_entry("F32", shape, 0, 8), "bad_shape") << shape;
  }
  EXPECT_EQ(error_of_header("{\"" + std::string(kMaxNameBytes + 1, 'n') + "\":{}}"), "too_large");
  EXPECT_EQ(error_of_header(std::string(1000000, '{')), "bad_config");
}

TEST(SafetensorsTest, RefusesUnknownTypes) {
  for (const char* type : {"I64", "F64", "U8", "F8_E4M3", "f32", ""}) {
    EXPECT_EQ(error_of_entry(type, "[1]", 0, 8), "bad_type") << type;
  }
}

TEST(SafetensorsTest, RefusesInvalidTensorInfo) {
  EXPECT_EQ(error_of_entry("F32", "[2]", 0, 8), "none");
  EXPECT_EQ(error_of_entry("F32", "[3]", 0, 8), "bad_shape");
  EXPECT_EQ(error_of_entry("F16", "[2]", 0, 8), "bad_shape");
  EXPECT_EQ(error_of_entry("F32", "[2]", 8, 0), "bad_shape");
  EXPECT_EQ(error_of_entry("F32", "[0]", 0, 0), "bad_shape");
}

TEST(SafetensorsTest, RefusesValidationOverflow) {
  EXPECT_EQ(error_of_entry("F32", "[4294967296,4294967296]", 0, 0), "overflow");
  EXPECT_EQ(error_of_entry("F32", "[4611686018427387904]", 0, 0), "overflow");
}

TEST(SafetensorsTest, RefusesHolesAndOverlaps) {
  const auto two = [](uint64_t begin_a, uint64_t begin_b) {
    return error_of_header("{" + safetensors_entry("a", "F32", "[1]", begin_a, begin_a + 4) + "," +
                           safetensors_entry("b", "F32", "[1]", begin_b, begin_b + 4) + "}");
  };
  EXPECT_EQ(two(0, 4), "none");
  EXPECT_EQ(two(4, 0), "none");
  EXPECT_EQ(two(0, 0), "out_of_file");
  EXPECT_EQ(two(0, 2), "out_of_file");
  EXPECT_EQ(two(0, 5), "out_of_file");
  EXPECT_EQ(two(1, 5), "out_of_file");
  EXPECT_EQ(two(0, UINT64_MAX - 3), "bad_shape");  // its end wraps to 0
}

TEST(SafetensorsTest, RefusesAnIncompleteBuffer) {
  EXPECT_EQ(error_of_header(kGood, std::string(8, 'x')), "none");
  EXPECT_EQ(error_of_header(kGood, std::string(7, 'x')), "out_of_file");
  EXPECT_EQ(error_of_header(kGood, std::string(9, 'x')), "out_of_file");
}

TEST(SafetensorsTest, RefusesANameTwice) {
  EXPECT_EQ(error_of_header("{" + safetensors_entry("a", "F32", "[1]", 0, 4) + "," +
                            safetensors_entry("a", "F32", "[1]", 4, 8) + "}"),
            "bad_shape");
}

TEST(SafetensorsTest, RefusesAFileCutAnywhere) {
  const std::string bytes = safetensors_bytes(kGood, std::string(8, 'x'));
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_NE(error_of_bytes(bytes.substr(0, length)), "none") << length;
  }
}

class SafetensorsDirectoryTest : public ::testing::Test {
 protected:
  // Two shards and an index, the entry of "b" as given.
  void write_shards(const std::string& shard_of_b) {
    folder_.write("m/one.safetensors", safetensors_of({{"a", "aaaa"}}));
    folder_.write("m/two.safetensors", safetensors_of({{"b", "bbbb"}}));
    folder_.write("m/model.safetensors.index.json",
                  R"({"metadata":{"total_size":8},"weight_map":{"a":"one.safetensors","b":")" + shard_of_b + "\"}}");
  }
  std::string error(std::string* detail = nullptr) {
    return error_of([&] { open_safetensors_directory(ModelDirectory(folder_ / "m")); }, detail);
  }

  TemporaryFolder folder_;
};

TEST_F(SafetensorsDirectoryTest, ReadsShardsByTheIndex) {
  write_shards("two.safetensors");
  folder_.write("m/unlisted.safetensors", "never opened");
  const SafetensorsFiles files = open_safetensors_directory(ModelDirectory(folder_ / "m"));
  EXPECT_EQ(files.files.size(), 2u);
  EXPECT_EQ(files.tensors.find("a")->data.text(), "aaaa");
  EXPECT_EQ(files.tensors.find("b")->data.text(), "bbbb");
}

TEST_F(SafetensorsDirectoryTest, PrefersTheSingleFile) {
  write_shards("two.safetensors");
  folder_.write("m/model.safetensors", safetensors_of({{"c", "cccc"}}));
  EXPECT_NE(open_safetensors_directory(ModelDirectory(folder_ / "m")).tensors.find("c"), nullptr);
}

TEST_F(SafetensorsDirectoryTest, RefusesNamesThatLeaveTheDirectory) {
  folder_.write("x.safetensors", safetensors_of({{"b", "bbbb"}}));
  folder_.write("m/sub/x.safetensors", safetensors_of({{"b", "bbbb"}}));
  for (const std::string& name :
       {std::string("../x.safetensors"), std::string("/etc/passwd"), folder_ / "x.safetensors", std::string(".."),
        std::string("."), std::string(""), std::string("sub/x.safetensors"), std::string("a\\u0000.safetensors"),
        std::string("config.json"), std::string(300, 'x') + ".safetensors"}) {
    write_shards(name);
    EXPECT_EQ(error(), "path") << name;
  }
}

TEST_F(SafetensorsDirectoryTest, RefusesMissingShardsAndTensors) {
  write_shards("three.safetensors");
  EXPECT_EQ(error(), "missing_tensor");
  write_shards("one.safetensors");
  std::string detail;
  EXPECT_EQ(error(&detail), "missing_tensor");
  EXPECT_NE(detail.find("'b'"), std::string::npos);
  std::filesystem::remove(folder_ / "m/model.safetensors.index.json");
  EXPECT_EQ(error(), "missing_tensor");
}

TEST_F(SafetensorsDirectoryTest, RefusesATensorInTwoShards) {
  write_shards("two.safetensors");
  folder_.write("m/two.safetensors", safetensors_of({{"a", "aaaa"}, {"b", "bbbb"}}));
  EXPECT_NE(error(), "none");
  folder_.write("m/one.safetensors", safetensors_of({{"a", "aaaa"}, {"unlisted", "xxxx"}}));
  folder_.write("m/two.safetensors", safetensors_of({{"b", "aaaa"}, {"unlisted", "xxxx"}}));
  EXPECT_EQ(error(), "bad_shape");
}

TEST_F(SafetensorsDirectoryTest, RefusesABadIndex) {
  write_shards("two.safetensors");
  for (const char* index : {"", "{", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})"}) {
    folder_.write("m/model.safetensors.index.json", index);
    EXPECT_NE(error(), "none") << index;
  }
}

TEST_F(SafetensorsDirectoryTest, SharesTheHeaderLimitAmongShards) {
  write_shards("two.safetensors");
  const std::string padding(kMaxSafetensorsHeaderBytes / 2, ' ');
  for (const char* name : {"a", "b"}) {
    folder_.write(name == std::string("a") ? "m/one.safetensors" : "m/two.safetensors",
                  safetensors_bytes("{" + safetensors_entry(name, "F32", "[1]", 0, 4) + "}" + padding, "xxxx"));
  }
  EXPECT_EQ(error(), "too_large");
}

}  // namespace
}  // namespace qwin
