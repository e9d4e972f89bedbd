// SPDX-License-Identifier: Apache-2.0
#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "io/gguf_writer.h"
#include "io/io_test_support.h"

namespace qwin {
namespace {

using testing::add_every_type;
using testing::append;
using testing::error_of;
using testing::GgufWriter;
using testing::TemporaryFolder;

// Metadata of every type and tensors of several.
GgufWriter make_valid() {
  GgufWriter writer;
  writer.add_string("general.architecture", "qwen2");
  add_every_type(writer);
  writer.add_tensor("blk.0.attn_q.weight", DType::q4_k, {3, 512});
  writer.add_tensor("blk.0.attn_q.bias", DType::f32, {3});
  writer.add_tensor("token_embd.weight", DType::bf16, {5, 7});
  return writer;
}

GgufFile read_bytes(const std::string& bytes) { return read_gguf(FileSpan::of_memory(bytes.data(), bytes.size())); }

std::string error_of_bytes(const std::string& bytes) {
  std::string detail;
  const std::string name = error_of([&] { read_bytes(bytes); }, &detail);
  EXPECT_EQ(detail.empty(), name == "none");
  EXPECT_EQ(detail.find('\n'), std::string::npos);
  return name;
}

std::string error_with(const std::function<void(GgufWriter&)>& change) {
  GgufWriter writer = make_valid();
  change(writer);
  return error_of_bytes(writer.bytes());
}

TEST(GgufTest, ReadsMetadataOfEveryType) {
  const std::string bytes = make_valid().bytes();
  const GgufFile file = read_bytes(bytes);
  const GgufMetadata& metadata = file.metadata;
  EXPECT_EQ(file.version, 3u);
  EXPECT_EQ(metadata.get_string("general.architecture", ""), "qwen2");
  EXPECT_EQ(metadata.get_uint("a.u8", 0), 200u);
  EXPECT_EQ(metadata.get_uint("a.u16", 0), 60000u);
  EXPECT_EQ(metadata.get_uint("a.u32", 0), 4000000000u);
  EXPECT_EQ(metadata.get_uint("a.u64", 0), UINT64_MAX);
  EXPECT_EQ(metadata.find("a.i8")->i, -100);
  EXPECT_EQ(metadata.find("a.i16")->i, -30000);
  EXPECT_EQ(metadata.find("a.i32")->i, -2000000000);
  EXPECT_EQ(metadata.find("a.i64")->i, INT64_MIN);
  EXPECT_EQ(metadata.get_float("a.f32", 0), 1.5);
  EXPECT_EQ(metadata.get_float("a.f64", 0), 2.25);
  EXPECT_TRUE(metadata.get_bool("a.bool", false));
  EXPECT_THAT(metadata.find("a.strings")->strings, ::testing::ElementsAre("one", "", "three"));
  const GgufValue* numbers = metadata.find("a.numbers");
  EXPECT_EQ(numbers->element_type, GgufType::i32);
  EXPECT_EQ(numbers->count, 3u);
  SpanReader reader(numbers->elements);
  EXPECT_EQ(reader.read<int32_t>("x"), 1);
  EXPECT_EQ(reader.read<int32_t>("x"), -2);
  EXPECT_EQ(metadata.entries().size(), 14u);
}

TEST(GgufTest, GivesFallbacksForAbsentKeysAndRefusesOtherTypes) {
  const std::string bytes = make_valid().bytes();
  const GgufFile file = read_bytes(bytes);
  EXPECT_EQ(file.metadata.find("nothing"), nullptr);
  EXPECT_EQ(file.metadata.get_uint("nothing", 7), 7u);
  EXPECT_EQ(file.metadata.get_float("nothing", 0.5), 0.5);
  EXPECT_EQ(file.metadata.get_string("nothing", "x"), "x");
  EXPECT_FALSE(file.metadata.get_bool("nothing", false));
  std::string detail;
  EXPECT_EQ(error_of([&] { file.metadata.get_uint("a.i8", 0); }, &detail), "bad_config");
  EXPECT_NE(detail.find("a.i8"), std::string::npos);
  EXPECT_EQ(error_of([&] { file.metadata.get_uint("a.f32", 0); }), "bad_config");
  EXPECT_EQ(error_of([&] { file.metadata.get_float("a.u8", 0); }), "bad_config");
  EXPECT_EQ(error_of([&] { file.metadata.get_bool("a.u8", false); }), "bad_config");
  EXPECT_EQ(error_of([&] { file.metadata.get_string("a.strings", ""); }), "bad_config");
}

TEST(GgufTest, ReadsTensorsOutermostFirst) {
  GgufWriter writer = make_valid();
  writer.tensors[1].data = std::string("abcdefghijkl");
  const std::string bytes = writer.bytes();
  const GgufFile file = read_bytes(bytes);
  const TensorInfo* weight = file.tensors.find("blk.0.attn_q.weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->dtype, DType::q4_k);
  EXPECT_THAT(weight->shape, ::testing::ElementsAre(3, 512));
  EXPECT_EQ(weight->data.size(), 3u * 2 * 144);
  EXPECT_EQ(file.tensors.find("blk.0.attn_q.bias")->data.text(), "abcdefghijkl");
  EXPECT_EQ(file.tensors.find("absent"), nullptr);
}

TEST(GgufTest, ReadsVersionTwoAndEverySupportedType) {
  for (int type = 0; type < kNumDTypes; ++type) {
    GgufWriter writer;
    writer.version = 2;
    writer.add_u32("qwin.format_version", 1);
    writer.add_tensor("t", static_cast<DType>(type), {2, 256});
    const std::string bytes = writer.bytes();
    EXPECT_EQ(read_bytes(bytes).tensors.find("t")->dtype, static_cast<DType>(type));
  }
}

TEST(GgufTest, OwnTypesComeWithTheVersionOfTheirFormat) {
  for (const std::optional<uint32_t> version : {std::optional<uint32_t>(), std::optional<uint32_t>(3)}) {
    GgufWriter writer;
    if (version) writer.add_u32("qwin.format_version", *version);
    writer.add_tensor("t", DType::q4, {2, 256});
    EXPECT_EQ(error_of_bytes(writer.bytes()), "bad_version");
  }
}

TEST(GgufTest, HonoursTheAlignmentOfTheFile) {
  GgufWriter writer;
  writer.alignment = 4096;
  writer.add_u32("general.alignment", 4096);
  writer.add_tensor("a", DType::f32, {1}, "aaaa");
  writer.add_tensor("b", DType::f32, {1}, "bbbb");
  const std::string bytes = writer.bytes();
  EXPECT_EQ(bytes.size(), 2 * 4096u + 4);
  EXPECT_EQ(read_bytes(bytes).tensors.find("b")->data.text(), "bbbb");
}

TEST(GgufTest, RefusesForeignMagicAndVersions) {
  EXPECT_EQ(error_with([](auto& w) { w.magic = "GGML"; }), "bad_magic");
  EXPECT_EQ(error_with([](auto& w) { w.magic = "FUGG"; }), "bad_magic");
  EXPECT_EQ(error_of_bytes("GG"), "bad_magic");
  for (uint32_t version : {0u, 1u, 4u, 0x03000000u, 0x02000000u, UINT32_MAX}) {
    EXPECT_EQ(error_with([&](auto& w) { w.version = version; }), "bad_version") << version;
  }
}

TEST(GgufTest, RefusesCountsNoModelHas) {
  for (uint64_t count : {uint64_t{1} << 31, uint64_t{1} << 60, (uint64_t{1} << 63) - 1, UINT64_MAX}) {
    EXPECT_EQ(error_with([&](auto& w) { w.num_tensors = count; }), "too_large") << count;
    EXPECT_EQ(error_with([&](auto& w) { w.num_keys = count; }), "too_large") << count;
  }
  EXPECT_EQ(error_with([](auto& w) { w.num_tensors = 60000; }), "out_of_file");
  EXPECT_EQ(error_with([](auto& w) { w.num_keys = 60000; }), "out_of_file");
}

TEST(GgufTest, RefusesStringsAndArraysTheFileCannotHold) {
  for (uint64_t length : {uint64_t{1} << 20, uint64_t{1} << 60, UINT64_MAX, UINT64_MAX - 7}) {
    std::string bytes;
    append(bytes, length);
    EXPECT_EQ(error_with([&](auto& w) { w.add_raw("s", GgufType::string, bytes); }), "out_of_file");
    for (GgufType element : {GgufType::string, GgufType::u8, GgufType::f64}) {
      std::string array;
      append(array, static_cast<uint32_t>(element));
      append(array, length);
      EXPECT_EQ(error_with([&](auto& w) { w.add_raw("a", GgufType::array, array); }), "out_of_file");
    }
  }
}

TEST(GgufTest, RefusesAStringOneByteTooLong) {
  GgufWriter writer;
  std::string value;
  append<uint64_t>(value, 5);
  writer.add_raw("s", GgufType::string, value + "abcd");
  EXPECT_EQ(error_of_bytes(writer.header()), "out_of_file");
  EXPECT_EQ(error_of_bytes(writer.header() + "e"), "none");
}

TEST(GgufTest, RefusesMoreStringsThanAnyVocabulary) {
  GgufWriter writer;
  std::string array;
  append(array, static_cast<uint32_t>(GgufType::string));
  append<uint64_t>(array, kMaxGgufStrings + 1);
  array.resize(array.size() + 8 * (kMaxGgufStrings + 1), '\0');
  writer.add_raw("a", GgufType::array, array);
  EXPECT_EQ(error_of_bytes(writer.bytes()), "too_large");
}

TEST(GgufTest, RefusesNestedArraysAndUnknownTypes) {
  std::string nested;
  for (int i = 0; i < 1000; ++i) {
    append(nested, static_cast<uint32_t>(GgufType::array));
    append<uint64_t>(nested, 1);
  }
  EXPECT_EQ(error_with([&](auto& w) { w.add_raw("n", GgufType::array, nested); }), "bad_type");
  for (uint32_t type : {13u, 255u, UINT32_MAX}) {
    EXPECT_EQ(error_with([&](auto& w) { w.add("t", static_cast<GgufType>(type), 1.0); }), "bad_type");
    std::string array;
    append(array, type);
    append<uint64_t>(array, 0);
    EXPECT_EQ(error_with([&](auto& w) { w.add_raw("t", GgufType::array, array); }), "bad_type");
  }
}

TEST(GgufTest, RefusesBadKeys) {
  EXPECT_EQ(error_with([](auto& w) { w.add_u32("a.u32", 1); }), "bad_config");
  EXPECT_EQ(error_with([](auto& w) { w.add_u32("", 1); }), "bad_config");
  EXPECT_EQ(error_with([](auto& w) { w.add_u32(std::string(kMaxNameBytes + 1, 'k'), 1); }), "too_large");
  EXPECT_EQ(error_with([](auto& w) { w.template add<uint8_t>("b", GgufType::boolean, 2); }), "bad_config");
}

TEST(GgufTest, RefusesBadAlignment) {
  for (uint32_t alignment : {0u, 1u, 3u, 4u, 33u, 1u << 21, 1u << 31, UINT32_MAX}) {
    EXPECT_EQ(error_with([&](auto& w) { w.add_u32("general.alignment", alignment); }), "bad_config") << alignment;
  }
  EXPECT_EQ(error_with([](auto& w) { w.add_string("general.alignment", "32"); }), "bad_config");
  EXPECT_EQ(error_with([](auto& w) { w.add_f32("general.alignment", 32); }), "bad_config");
}

TEST(GgufTest, RefusesBadDimensionsAndTypes) {
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].extents = {0}; }), "bad_shape");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[0].extents = {512, 0}; }), "bad_shape");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[0].extents = {}; }), "bad_shape");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[0].extents = {1, 1, 1, 1, 1}; }), "bad_shape");
  std::string bytes = make_valid().header();
  const size_t rank = bytes.find("blk.0.attn_q.bias") + 17;
  bytes.replace(rank, 4, "\xff\xff\xff\xff");
  EXPECT_EQ(error_of_bytes(bytes), "bad_shape");
  for (uint32_t type : {4u, 5u, 9u, 15u, 16u, 24u, 31u, 1000000u, UINT32_MAX}) {
    EXPECT_EQ(error_with([&](auto& w) { w.tensors[1].type = type; }), "bad_type") << type;
  }
}

TEST(GgufTest, RefusesSizesThatWrap) {
  const uint64_t big = uint64_t{1} << 62;
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].extents = {(1ull << 42) + 1, 1ull << 22}; }), "overflow");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].extents = {1ull << 32, 1ull << 32}; }), "overflow");
  EXPECT_EQ(error_with([&](auto& w) { w.tensors[1].extents = {big - 1}; }), "overflow");  // 2^64 - 4 bytes, padded
  EXPECT_EQ(error_with([&](auto& w) { w.tensors[1].extents = {big}; }), "overflow");
  EXPECT_EQ(error_with([&](auto& w) {
              for (auto& tensor : w.tensors) {  // each fits alone: 3 * 2^63 bytes
                tensor.type = 0;
                tensor.extents = {big / 2};
              }
            }),
            "overflow");
}

TEST(GgufTest, RefusesRangesOutsideTheFile) {
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].offset += 8; }), "out_of_file");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].offset = 1 << 20; }), "out_of_file");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].offset = UINT64_MAX - 31; }), "out_of_file");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].offset = w.tensors[0].offset; }), "out_of_file");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].offset = 32; }), "out_of_file");  // inside the first tensor
  EXPECT_EQ(error_with([](auto& w) { w.tensors[2].data.pop_back(); }), "out_of_file");
}

TEST(GgufTest, RefusesRowsThatAreNoWholeBlocks) {
  EXPECT_EQ(error_with([](auto& w) { w.add_tensor("q", DType::q4_0, {32, 33}); }), "bad_shape");
  EXPECT_EQ(error_with([](auto& w) { w.add_tensor("q", DType::q4_k, {256, 255}); }), "bad_shape");
}

TEST(GgufTest, RefusesTensorsWithoutOrWithTheSameName) {
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].name = ""; }), "bad_config");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].name = w.tensors[0].name; }), "bad_shape");
  EXPECT_EQ(error_with([](auto& w) { w.tensors[1].name = std::string(kMaxNameBytes + 1, 'n'); }), "too_large");
}

TEST(GgufTest, RefusesAFileCutAnywhere) {
  const std::string bytes = make_valid().bytes();
  for (size_t i = 0; i < 200; ++i) {
    const size_t length = bytes.size() * i / 200;
    EXPECT_NE(error_of_bytes(bytes.substr(0, length)), "none") << length;
  }
}

TEST(GgufTest, ReadsOrRefusesAFileWithAnyByteChanged) {
  const std::string bytes = make_valid().header();
  int refused = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int change : {0x01, 0x80, 0xff}) {
      std::string changed = make_valid().bytes();
      changed[i] = static_cast<char>(changed[i] ^ change);
      refused += error_of_bytes(changed) != "none";
    }
  }
  EXPECT_GT(refused, 500);
}

// Writes a model of three files and returns the path of the first.
std::string write_split(const TemporaryFolder& folder, const std::function<void(int, GgufWriter&)>& change) {
  for (int i = 0; i < 3; ++i) {
    GgufWriter writer;
    writer.add<uint16_t>("split.no", GgufType::u16, i);
    writer.add<uint16_t>("split.count", GgufType::u16, 3);
    writer.add<int32_t>("split.tensors.count", GgufType::i32, 3);
    if (i == 0) writer.add_string("general.architecture", "qwen2");
    writer.add_tensor("tensor." + std::to_string(i), DType::f32, {1}, std::string(4, static_cast<char>('a' + i)));
    change(i, writer);
    writer.write(folder / ("m-0000" + std::to_string(i + 1) + "-of-00003.gguf"));
  }
  return folder / "m-00001-of-00003.gguf";
}

TEST(GgufSplitTest, GathersTheTensorsOfAllFiles) {
  TemporaryFolder folder;
  const GgufFile file = open_gguf(write_split(folder, [](int, GgufWriter&) {}));
  EXPECT_EQ(file.files.size(), 3u);
  ASSERT_EQ(file.tensors.tensors().size(), 3u);
  EXPECT_EQ(file.tensors.find("tensor.2")->data.text(), "cccc");
  EXPECT_EQ(file.metadata.get_string("general.architecture", ""), "qwen2");
}

TEST(GgufSplitTest, RefusesAnyFileButTheFirst) {
  TemporaryFolder folder;
  write_split(folder, [](int, GgufWriter&) {});
  std::string detail;
  EXPECT_EQ(error_of([&] { open_gguf(folder / "m-00002-of-00003.gguf"); }, &detail), "path");
  EXPECT_NE(detail.find("m-00001-of-00003.gguf"), std::string::npos);
}

TEST(GgufSplitTest, RefusesARenamedFile) {
  TemporaryFolder folder;
  std::filesystem::rename(write_split(folder, [](int, GgufWriter&) {}), folder / "renamed.gguf");
  EXPECT_EQ(error_of([&] { open_gguf(folder / "renamed.gguf"); }), "path");
}

TEST(GgufSplitTest, RefusesAMissingFile) {
  TemporaryFolder folder;
  const std::string first = write_split(folder, [](int, GgufWriter&) {});
  std::filesystem::remove(folder / "m-00003-of-00003.gguf");
  EXPECT_EQ(error_of([&] { open_gguf(first); }), "io");
}

TEST(GgufSplitTest, RefusesFilesThatDoNotBelongTogether) {
  TemporaryFolder folder;
  const auto with_key = [&](int where, const char* key, uint16_t value) {
    for (int i = 0; i < 3; ++i) {
      GgufWriter writer;
      writer.add<uint16_t>("split.no", GgufType::u16, i == where && key == std::string("no") ? value : i);
      writer.add<uint16_t>("split.count", GgufType::u16, i == where && key == std::string("count") ? value : 3);
      writer.write(folder / ("m-0000" + std::to_string(i + 1) + "-of-00003.gguf"));
    }
    return error_of([&] { open_gguf(folder / "m-00001-of-00003.gguf"); });
  };
  EXPECT_EQ(with_key(9, "no", 0), "none");
  EXPECT_EQ(with_key(1, "no", 2), "bad_config");
  EXPECT_EQ(with_key(2, "count", 4), "bad_config");
  EXPECT_EQ(with_key(0, "no", 3), "bad_config");
  EXPECT_EQ(with_key(0, "count", 60000), "too_large");
}

TEST(GgufSplitTest, RefusesATensorTwiceOrTooFew) {
  TemporaryFolder folder;
  const auto twice = [](int i, GgufWriter& writer) {
    writer.tensors[0].name = i == 2 ? "tensor.0" : "tensor." + std::to_string(i);
  };
  EXPECT_EQ(error_of([&] { open_gguf(write_split(folder, twice)); }), "bad_shape");
  const auto fewer = [](int i, GgufWriter& writer) {
    if (i == 1) writer.tensors.clear();
  };
  EXPECT_EQ(error_of([&] { open_gguf(write_split(folder, fewer)); }), "missing_tensor");
}

}  // namespace
}  // namespace qwin
