// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_history.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <system_error>

#include "hub/files.h"
#include "tokenizer/unicode.h"

namespace qwin {

namespace {

constexpr mode_t kOwnerOnly = S_IRUSR | S_IWUSR;

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

FileHandle open_history(const std::filesystem::path& path, int flags) {
  FileHandle file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, kOwnerOnly));
  // A file made by other means may be open to others; a device such as /dev/null stays as it is.
  struct stat status;
  if (file.fd() >= 0 && fstat(file.fd(), &status) == 0 && S_ISREG(status.st_mode)) fchmod(file.fd(), kOwnerOnly);
  return file;
}

// The last kMaxFileBytes of the file, beginning with a whole line; `cut` when there is more.
std::string read_end(const std::filesystem::path& path, bool& cut) {
  const FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (file.fd() < 0 || fstat(file.fd(), &status) != 0 || !S_ISREG(status.st_mode)) return "";
  const size_t size = static_cast<size_t>(status.st_size);
  const size_t begin = size > ChatHistory::kMaxFileBytes ? size - ChatHistory::kMaxFileBytes : 0;
  cut = begin > 0;
  std::string text(size - begin, '\0');
  const ssize_t got = pread(file.fd(), text.data(), text.size(), static_cast<off_t>(begin));
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  if (cut) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  return text;
}

}  // namespace

std::string escape_history_entry(std::string_view entry) {
  std::string line;
  for (const char c : entry) {
    if (c == '\n') {
      line += "\\n";
    } else if (c == '\\') {
      line += "\\\\";
    } else {
      line += c;
    }
  }
  return line;
}

std::string unescape_history_entry(std::string_view line) {
  std::string entry;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) {
      ++i;
      entry += line[i] == 'n' ? '\n' : line[i];
    } else {
      entry += line[i];
    }
  }
  return entry;
}

ChatHistory::ChatHistory(std::filesystem::path path) : path_(std::move(path)) {
  bool outgrown = false;
  const std::string text = read_end(path_, outgrown);
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (!line.empty() && line.size() <= 2 * kMaxEntryBytes && unicode::is_valid_utf8(line))
      entries_.push_back(unescape_history_entry(line));
    begin = end + 1;
  }
  if (entries_.size() > 2 * kMaxEntries) outgrown = true;
  if (entries_.size() > kMaxEntries) entries_.erase(entries_.begin(), entries_.end() - kMaxEntries);
  if (!outgrown) return;
  const std::filesystem::path shorter = path_.string() + ".new";
  std::string kept;
  for (const std::string& entry : entries_) kept += escape_history_entry(entry) + "\n";
  const FileHandle file = open_history(shorter, O_TRUNC);
  std::error_code ignored;
  if (file.fd() >= 0 && write_all(file.fd(), kept)) std::filesystem::rename(shorter, path_, ignored);
}

void ChatHistory::add(const std::string& entry) {
  if (entry.empty() || entry.size() > kMaxEntryBytes || (!entries_.empty() && entries_.back() == entry)) return;
  entries_.push_back(entry);
  std::error_code ignored;
  std::filesystem::create_directories(path_.parent_path(), ignored);
  const FileHandle file = open_history(path_, O_APPEND);
  if (file.fd() >= 0) write_all(file.fd(), escape_history_entry(entry) + "\n");
}

}  // namespace qwin
