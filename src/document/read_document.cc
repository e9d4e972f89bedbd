// SPDX-License-Identifier: Apache-2.0
// Files to text, by what they begin with rather than by their names.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "document/docx.h"
#include "hub/subprocess.h"
#include "qwin/document.h"
#include "tokenizer/unicode.h"

namespace qwin {

namespace {

namespace fs = std::filesystem;

std::string read_bytes(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) throw Error(ErrorCode::path, "there is no file " + path);
  std::ifstream file(path, std::ios::binary);
  if (!file || fs::is_directory(path, ignored)) throw Error(ErrorCode::io, path + " cannot be read");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A file that goes with its scope.
class TemporaryFile {
 public:
  TemporaryFile() : path_((fs::temp_directory_path() / "qwin-document-XXXXXX").string()) {
    const int fd = mkstemp(path_.data());
    if (fd < 0) throw Error(ErrorCode::io, "a temporary file cannot be made in " + fs::temp_directory_path().string());
    close(fd);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string read_pdf(const std::string& path) {
  constexpr int kNotFound = 127;
  const TemporaryFile text;
  const CommandResult done =
      run_command({"pdftotext", "-q", "-enc", "UTF-8", "-nopgbrk", fs::absolute(path).string(), text.path()}, {}, {});
  if (done.exit_status == kNotFound) {
    throw Error(ErrorCode::invalid_argument,
                path + " is a PDF; reading it needs the program pdftotext (Debian: apt-get install poppler-utils)");
  }
  if (done.exit_status != 0) {
    throw Error(ErrorCode::invalid_argument, "pdftotext cannot read " + path + ": " + done.errors.substr(0, 300));
  }
  return read_bytes(text.path());
}

}  // namespace

std::string read_document(const std::string& path) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string text = read_bytes(path);
  if (text.starts_with("%PDF-")) {
    text = read_pdf(path);
  } else if (text.starts_with("PK\x03\x04")) {
    text = read_docx(path);
  }
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  if (!unicode::is_valid_utf8(text)) {
    throw Error(ErrorCode::invalid_argument,
                path + " is neither UTF-8 nor .docx nor PDF; a text in another encoding: iconv -f GB18030 -t UTF-8");
  }
  if (text.find_first_not_of(" \t\r\n\f") == text.npos)
    throw Error(ErrorCode::invalid_argument,
                path + " holds no text (pages that are pictures have to be recognised first)");
  return text;
}

}  // namespace qwin
