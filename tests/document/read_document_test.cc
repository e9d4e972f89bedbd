// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zip.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "document/docx.h"
#include "qwin/document.h"

namespace qwin {
namespace {

namespace fs = std::filesystem;

constexpr char kXml[] =
    R"(<?xml version="1.0"?><w:document><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Lease</w:t></w:r></w:p>)"
    R"(<w:p><w:r><w:t xml:space="preserve">A &amp; B, </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>)"
    R"(<w:r><w:tab/><w:t>&#x4e2d;&#25991;</w:t><w:br/><w:t/></w:r></w:p></w:body></w:document>)";

class ReadDocumentTest : public ::testing::Test {
 protected:
  ReadDocumentTest() : folder_(fs::temp_directory_path() / ("qwin-documents-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~ReadDocumentTest() override { fs::remove_all(folder_); }
  std::string file(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return (folder_ / name).string();
  }
  std::string archive(const char* entry, const std::string& bytes) const {
    const std::string path = (folder_ / "made.docx").string();
    zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    zip_file_add(zip, entry, zip_source_buffer(zip, bytes.data(), bytes.size(), 0), 0);
    zip_close(zip);
    return path;
  }
  static std::string fault_of(const std::string& path) {
    try {
      read_document(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  const fs::path folder_;
};

// The search path for programs while it lives.
class SearchPath {
 public:
  explicit SearchPath(const std::string& path) : old_(getenv("PATH")) { setenv("PATH", path.c_str(), 1); }
  ~SearchPath() { setenv("PATH", old_.c_str(), 1); }

 private:
  const std::string old_;
};

TEST_F(ReadDocumentTest, TakesTextAsItIs) {
  EXPECT_EQ(read_document(file("a.md", "# 标题\n\ntext")), "# 标题\n\ntext");
  EXPECT_EQ(read_document(file("b.txt", "\xEF\xBB\xBFtext")), "text");
}

TEST_F(ReadDocumentTest, FindsTheParagraphsOfADocx) {
  EXPECT_EQ(docx_text(kXml), "# Lease\n\nA & B, \t中文\n\n\n");
  EXPECT_EQ(read_document(archive("word/document.xml", kXml)), docx_text(kXml));
}

TEST_F(ReadDocumentTest, SaysWhatIsWrong) {
  EXPECT_THAT(fault_of((folder_ / "absent").string()), ::testing::HasSubstr("no file"));
  EXPECT_THAT(fault_of(folder_.string()), ::testing::HasSubstr("cannot be read"));
  EXPECT_THAT(fault_of(file("empty.txt", " \n")), ::testing::HasSubstr("no text"));
  EXPECT_THAT(fault_of(file("gbk.txt", "\xc4\xe3\xba\xc3")), ::testing::HasSubstr("iconv"));
  EXPECT_THAT(fault_of(file("cut.docx", "PK\x03\x04 and no more")), ::testing::HasSubstr("damaged"));
  EXPECT_THAT(fault_of(archive("other.xml", "x")), ::testing::HasSubstr("word/document.xml"));
}

TEST_F(ReadDocumentTest, TakesAnyBytesForXml) {
  for (const char* xml : {"", "<", "<w:t", "<w:t>&", "<w:t>&#xffffffffff;&#0;&#xd800;&x;", "</w:t>", "<w:t>a<w:t>b"}) {
    docx_text(xml);
  }
  EXPECT_EQ(docx_text("<w:t>&#xd800;&nothing;a"), "a");
}

TEST_F(ReadDocumentTest, LetsPdftotextReadAPdf) {
  const std::string pdf = file("a.pdf", "%PDF-1.4 …");
  {
    const SearchPath none(folder_.string());
    EXPECT_THAT(fault_of(pdf), ::testing::HasSubstr("poppler-utils"));
  }
  // A program of this name that writes its arguments where the text belongs.
  const std::string program = file("pdftotext", "#!/bin/sh\nfor last; do :; done\nprintf '%s ' \"$@\" > \"$last\"\n");
  fs::permissions(program, fs::perms::owner_all);
  const SearchPath found(folder_.string() + ":" + getenv("PATH"));
  EXPECT_THAT(read_document(pdf), ::testing::StartsWith("-q -enc UTF-8 -nopgbrk " + pdf));
  file("pdftotext", "#!/bin/sh\necho 'Incorrect password' >&2\nexit 1\n");
  EXPECT_THAT(fault_of(pdf), ::testing::HasSubstr("Incorrect password"));
}

}  // namespace
}  // namespace qwin
