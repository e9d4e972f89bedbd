// SPDX-License-Identifier: Apache-2.0
#include "io/file_span.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "io/io_test_support.h"

namespace qwin {
namespace {

using testing::error_of;
using testing::TemporaryFolder;

TEST(FileSpanTest, HandsOutOnlyWhatIsInside) {
  const std::string text = "0123456789";
  const FileSpan span = FileSpan::of_memory(text.data(), text.size());
  EXPECT_EQ(span.sub(2, 3, "x").text(), "234");
  EXPECT_EQ(span.sub(10, 0, "x").size(), 0u);
  EXPECT_EQ(span.sub(0, 10, "x").text(), text);
  EXPECT_EQ(error_of([&] { span.sub(0, 11, "x"); }), "out_of_file");
  EXPECT_EQ(error_of([&] { span.sub(11, 0, "x"); }), "out_of_file");
  EXPECT_EQ(error_of([&] { span.sub(9, UINT64_MAX, "x"); }), "out_of_file");
  EXPECT_EQ(error_of([&] { span.sub(UINT64_MAX, 2, "x"); }), "out_of_file");
  EXPECT_EQ(error_of([&] { span.sub(2, 3, "x").sub(1, 3, "y"); }), "out_of_file");
}

TEST(SpanReaderTest, ReadsLittleEndianValuesToTheEnd) {
  const unsigned char bytes[] = {1, 0, 0, 0, 2, 0, 'a', 'b'};
  SpanReader reader(FileSpan::of_memory(bytes, sizeof(bytes)));
  EXPECT_EQ(reader.read<uint32_t>("x"), 1u);
  EXPECT_EQ(reader.read<uint16_t>("x"), 2u);
  EXPECT_EQ(error_of([&] { reader.read<uint32_t>("x"); }), "out_of_file");
  EXPECT_EQ(reader.position(), 6u);
  EXPECT_EQ(reader.read_span(2, "x").text(), "ab");
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(MappedFileTest, MapsAndReadsARegularFile) {
  TemporaryFolder folder;
  const auto file = MappedFile::open(folder.write("f", "hello"));
  EXPECT_EQ(file->span().text(), "hello");
  char copy[3];
  file->read(1, copy, 3);
  EXPECT_EQ(std::string(copy, 3), "ell");
  EXPECT_EQ(error_of([&] { file->read(4, copy, 2); }), "io");
}

TEST(MappedFileTest, ReportsAFileThatBecameShorter) {
  TemporaryFolder folder;
  const auto file = MappedFile::open(folder.write("f", std::string(10000, 'x')));
  std::filesystem::resize_file(folder / "f", 100);
  std::string copy(10000, ' ');
  EXPECT_EQ(error_of([&] { file->read(0, copy.data(), copy.size()); }), "io");
}

TEST(MappedFileTest, RefusesWhatIsNoRegularFile) {
  TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  const int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  (folder / "socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  folder.write("empty", "");
  for (const std::string& path : {folder / "fifo", folder / "socket", folder / "empty", folder / "absent",
                                  folder.path(), std::string("/dev/zero"), std::string("/dev/random")}) {
    EXPECT_EQ(error_of([&] { MappedFile::open(path); }), "io") << path;
  }
  close(socket_fd);
}

}  // namespace
}  // namespace qwin
