// SPDX-License-Identifier: Apache-2.0
#include "document/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/json.h"
#include "qwin/error.h"

namespace qwin {

namespace {

constexpr size_t kDepth = 4;

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

[[noreturn]] void refuse(const std::string& path) {
  throw Error(ErrorCode::invalid_argument,
              path + " belongs to another document, model or settings; remove it or name another file");
}

}  // namespace

Journal::Journal(const std::string& path, const std::string& key, std::vector<std::optional<std::string>>& answers)
    : path_(path) {
  const std::string text = text_of(path);
  size_t whole = 0;  // bytes of whole lines
  for (size_t end; (end = text.find('\n', whole)) != text.npos; whole = end + 1) {
    try {
      const Json line = read_json(std::string_view(text).substr(whole, end - whole), kDepth);
      if (whole == 0) {
        if (line.at("document") != key) refuse(path);
        continue;
      }
      const auto segment = line.at("segment").get<size_t>();
      if (segment < answers.size()) answers[segment] = line.at("text").get<std::string>();
    } catch (const std::exception&) {  // no JSON, or another one
      refuse(path);
    }
  }
  file_ = FileHandle(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (file_.fd() < 0) throw_file_error("open", path, errno);
  if (ftruncate(file_.fd(), static_cast<off_t>(whole)) != 0) throw_file_error("cut", path, errno);
  if (lseek(file_.fd(), 0, SEEK_END) < 0) throw_file_error("read", path, errno);
  if (whole == 0) append(Json{{"document", key}}.dump());
}

void Journal::add(size_t segment, const std::string& answer) {
  append(Json{{"segment", segment}, {"text", answer}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Journal::remove() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void Journal::append(const std::string& line) {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(file_.fd(), text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) throw_file_error("write", path_, errno);
    if (written > 0) done += static_cast<size_t>(written);
  }
}

}  // namespace qwin
