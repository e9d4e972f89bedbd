// SPDX-License-Identifier: Apache-2.0
// What was typed in earlier chats, for the arrow keys: $QWIN_HOME/history, readable by its owner alone.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace qwin {

// One entry a line, with "\n" and "\\" for line breaks and backslashes. Entries are appended as they come, so that
// chats at the same time and a killed one lose nothing. A history that cannot be read or written is only not kept.
class ChatHistory {
 public:
  static constexpr size_t kMaxEntries = 1000;
  static constexpr size_t kMaxEntryBytes = 64 << 10;  // longer ones are not kept
  static constexpr size_t kMaxFileBytes = 4 << 20;

  // Reads the newest entries; a file that has outgrown the bounds is cut to them.
  explicit ChatHistory(std::filesystem::path path);

  // Oldest first.
  const std::vector<std::string>& entries() const { return entries_; }
  // Keeps an entry, unless it is empty or the same as the last one.
  void add(const std::string& entry);

 private:
  std::filesystem::path path_;
  std::vector<std::string> entries_;
};

std::string escape_history_entry(std::string_view entry);
std::string unescape_history_entry(std::string_view line);

}  // namespace qwin
