// SPDX-License-Identifier: Apache-2.0
// NumPy archives as golden files use them; the files are made by tools/make_npz_goldens.py.
#include "eval/npz.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <numbers>

#include "qwin/error.h"

namespace qwin {

namespace {

std::string testdata(const std::string& name) { return std::string(QWIN_TESTDATA) + "/eval/" + name + ".npz"; }

class NpzTest : public testing::TestWithParam<const char*> {};

TEST_P(NpzTest, EveryNumericTypeIsRead) {
  const auto arrays = read_npz(testdata(GetParam()));
  EXPECT_EQ(arrays.size(), 7u);
  EXPECT_EQ(arrays.at("f4").dtype, "<f4");
  EXPECT_EQ(arrays.at("f4").shape, (std::vector<size_t>{2, 3}));
  EXPECT_EQ(arrays.at("f4").numbers(), (std::vector<double>{1.5, -2.25, 3e38f, 0.0, 1e-45f, -0.5}));
  EXPECT_EQ(arrays.at("f8").numbers(), (std::vector<double>{std::numbers::pi, -1e300}));
  EXPECT_EQ(arrays.at("i4").numbers(), (std::vector<double>{0, -1, 2147483647}));
  EXPECT_EQ(arrays.at("i8").shape, (std::vector<size_t>{1, 2, 3}));
  EXPECT_EQ(arrays.at("i8").numbers()[5], 5 - 1099511627776.0);
}

TEST_P(NpzTest, ScalarsAndEmptyArraysHaveTheirSize) {
  const auto arrays = read_npz(testdata(GetParam()));
  EXPECT_TRUE(arrays.at("scalar").shape.empty());
  EXPECT_EQ(arrays.at("scalar").numbers(), (std::vector<double>{7.5}));
  EXPECT_EQ(arrays.at("empty").shape, (std::vector<size_t>{0, 64}));
  EXPECT_TRUE(arrays.at("empty").numbers().empty());
}

TEST_P(NpzTest, TextIsNoNumber) {
  const auto arrays = read_npz(testdata(GetParam()));
  EXPECT_EQ(arrays.at("names").dtype, "<U5");
  EXPECT_EQ(arrays.at("names").size(), 2u);
  EXPECT_THROW(arrays.at("names").numbers(), Error);
}

INSTANTIATE_TEST_SUITE_P(Archives, NpzTest, testing::Values("compressed", "stored"),
                         [](const auto& info) { return std::string(info.param); });

// The code of the error that reading the file, or the numbers of its array `a`, ends with.
ErrorCode error_of(const std::string& path) {
  try {
    read_npz(path).at("a").numbers();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << path << " was read";
  return ErrorCode::cancelled;
}

TEST(NpzFaultTest, LayoutsThatAreNotReadAreRefused) {
  EXPECT_EQ(error_of(testdata("fortran")), ErrorCode::bad_shape);
  EXPECT_EQ(error_of(testdata("big_endian")), ErrorCode::bad_type);
}

TEST(NpzFaultTest, MalformedArraysAreRefused) {
  EXPECT_EQ(error_of(testdata("not_npy")), ErrorCode::bad_magic);
  EXPECT_EQ(error_of(testdata("tiny")), ErrorCode::bad_magic);
  EXPECT_EQ(error_of(testdata("header_past_end")), ErrorCode::out_of_file);
  EXPECT_EQ(error_of(testdata("no_shape")), ErrorCode::bad_magic);
  EXPECT_EQ(error_of(testdata("no_descr_value")), ErrorCode::bad_magic);
  EXPECT_EQ(error_of(testdata("short_data")), ErrorCode::out_of_file);
  EXPECT_EQ(error_of(testdata("huge_shape")), ErrorCode::out_of_file);
  EXPECT_EQ(error_of(testdata("wrapping_shape")), ErrorCode::out_of_file);
}

TEST(NpzFaultTest, FilesThatAreNoArchivesAreRefused) {
  EXPECT_EQ(error_of(testdata("does_not_exist")), ErrorCode::io);
  EXPECT_EQ(error_of(std::string(QWIN_TESTDATA) + "/tiny/README.md"), ErrorCode::bad_magic);
}

TEST(NpzFaultTest, CutArchivesAreRefusedWhereverTheCutIs) {
  std::ifstream whole(testdata("compressed"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(whole), std::istreambuf_iterator<char>()};
  const std::string path = testing::TempDir() + "qwin_cut_" + std::to_string(::getpid()) + ".npz";
  for (size_t size = 0; size < bytes.size(); size += 37) {
    std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(size));
    EXPECT_THROW(read_npz(path), Error) << size;
  }
  std::remove(path.c_str());
}

}  // namespace

}  // namespace qwin
