// SPDX-License-Identifier: Apache-2.0
#include "model/check_values.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/half.h"
#include "io/gguf_writer.h"
#include "io/io_test_support.h"

namespace qwin {
namespace {

using testing::error_of;
using testing::GgufWriter;
using testing::TemporaryFolder;

struct ScalePlace {
  DType dtype;
  size_t offset;  // of an f16 in its block
};

// As ggml lays out its blocks.
const ScalePlace kScales[] = {
    {DType::q4_0, 0}, {DType::q4_1, 0},  {DType::q4_1, 2},   {DType::q5_0, 0},   {DType::q5_1, 0},   {DType::q5_1, 2},
    {DType::q8_0, 0}, {DType::q2_k, 80}, {DType::q2_k, 82},  {DType::q3_k, 108}, {DType::q4_k, 0},   {DType::q4_k, 2},
    {DType::q5_k, 0}, {DType::q5_k, 2},  {DType::q6_k, 208}, {DType::iq4_nl, 0}, {DType::iq4_xs, 0}, {DType::q8, 0},
};

std::optional<uint64_t> find(DType dtype, const std::string& bytes) {
  return find_non_finite(dtype, reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
}

template <typename T>
std::string with_value(std::string bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  return bytes;
}

TEST(FindNonFiniteTest, FindsPlainValues) {
  const std::string bytes(400, '\0');
  for (float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    const uint32_t bits = std::bit_cast<uint32_t>(bad);
    EXPECT_EQ(find(DType::f32, with_value(bytes, 4 * 77, bad)), 77u);
    EXPECT_EQ(find(DType::bf16, with_value(bytes, 2 * 199, static_cast<uint16_t>(bits >> 16))), 199u);
    EXPECT_EQ(find(DType::f16, with_value(bytes, 0, float_to_half(bad))), 0u);
  }
  EXPECT_EQ(find(DType::f32, with_value(bytes, 4, -std::numeric_limits<float>::max())), std::nullopt);
  EXPECT_EQ(find(DType::f32, with_value(bytes, 4, std::numeric_limits<float>::denorm_min())), std::nullopt);
  EXPECT_EQ(find(DType::bf16, with_value<uint16_t>(bytes, 4, 0x7f7f)), std::nullopt);
  EXPECT_EQ(find(DType::f16, with_value<uint16_t>(bytes, 4, 0xfbff)), std::nullopt);
}

TEST(FindNonFiniteTest, FindsEveryScaleOfEveryBlockType) {
  for (const ScalePlace& place : kScales) {
    const size_t block = dtype_info(place.dtype).block_bytes;
    const std::string bytes(5 * block, '\0');
    EXPECT_EQ(find(place.dtype, bytes), std::nullopt);
    for (uint16_t bad : {0x7c00, 0xfc00, 0x7e01}) {
      EXPECT_EQ(find(place.dtype, with_value(bytes, 3 * block + place.offset, bad)), 3u)
          << dtype_info(place.dtype).name << " " << place.offset;
    }
  }
}

TEST(FindNonFiniteTest, FindsScalesThatShareAWord) {
  for (const DType dtype : {DType::q3, DType::q4, DType::q5, DType::q6}) {
    const size_t block = dtype_info(dtype).block_bytes;
    const std::string bytes(5 * block, '\0');
    EXPECT_EQ(find(dtype, with_value<uint32_t>(bytes, 3 * block, 0xf8000000)), 3u);
    EXPECT_EQ(find(dtype, with_value<uint32_t>(bytes, 3 * block, 0xf00fffff)), std::nullopt);
  }
}

TEST(FindNonFiniteTest, IgnoresTheQuantsOfABlock) {
  for (int type = 3; type < kNumDTypes; ++type) {
    const DType dtype = static_cast<DType>(type);
    std::string bytes(dtype_info(dtype).block_bytes, '\xff');
    for (const ScalePlace& place : kScales) {
      if (place.dtype == dtype) bytes = with_value<uint16_t>(bytes, place.offset, 0);
    }
    if (has_head(dtype)) bytes = with_value<uint32_t>(bytes, 0, 0);
    EXPECT_EQ(find(dtype, bytes), std::nullopt) << dtype_info(dtype).name;
  }
}

class CheckValuesTest : public ::testing::Test {
 protected:
  std::string error(const GgufWriter& writer, std::string* detail = nullptr) {
    writer.write(folder_ / "m.gguf");
    return error_of([&] { check_values(open_model_files(folder_ / "m.gguf"), nullptr); }, detail);
  }

  TemporaryFolder folder_;
};

TEST_F(CheckValuesTest, NamesTheTensor) {
  GgufWriter writer;
  writer.add_tensor("first", DType::f32, {4});
  writer.add_tensor("second", DType::q8_0, {2, 64}, with_value(std::string(4 * 34, '\0'), 2 * 34, uint16_t{0x7e00}));
  std::string detail;
  EXPECT_EQ(error(writer, &detail), "non_finite");
  EXPECT_NE(detail.find("'second'"), std::string::npos);
  EXPECT_NE(detail.find("block 2"), std::string::npos);
}

TEST_F(CheckValuesTest, LooksBehindTheFirstPieceAndReportsProgress) {
  const uint64_t rows = 3000;  // 9.6 MB: three pieces
  GgufWriter writer;
  writer.add_tensor("big", DType::f32, {rows, 800});
  EXPECT_EQ(error(writer), "none");
  uint64_t last = 0;
  int calls = 0;
  check_values(open_model_files(folder_ / "m.gguf"), [&](uint64_t done, uint64_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, rows * 800 * 4);
    last = done;
    ++calls;
  });
  EXPECT_EQ(last, rows * 800 * 4);
  EXPECT_EQ(calls, 3);
  writer.tensors[0].data = with_value(writer.tensors[0].data, rows * 800 * 4 - 4, NAN);
  std::string detail;
  EXPECT_EQ(error(writer, &detail), "non_finite");
  EXPECT_NE(detail.find("block " + std::to_string(rows * 800 - 1)), std::string::npos);
}

TEST_F(CheckValuesTest, ReportsAFileCutWhileItIsMapped) {
  GgufWriter writer;
  writer.add_tensor("big", DType::f32, {1000, 800});
  writer.write(folder_ / "m.gguf");
  const ModelFiles files = open_model_files(folder_ / "m.gguf");
  std::filesystem::resize_file(folder_ / "m.gguf", 100000);
  EXPECT_EQ(error_of([&] { check_values(files, nullptr); }), "io");
}

}  // namespace
}  // namespace qwin
